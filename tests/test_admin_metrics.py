"""The metrics, read back by Prometheus' own parser."""

from __future__ import annotations

from pathlib import Path

from asking import chat, get, when_done
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from raw import eventually
from tapes import CHAT, ask, recorded, tape

from stubserver import StubServer


def numbers(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one name by the values of their labels, in the order of the labels' names."""
    samples = [sample for family in prometheus(text) for sample in family.samples if sample.name == name]
    return {tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value for sample in samples}


def test_metrics(tmp_path: Path) -> None:
    path = tape(tmp_path / "a.yaml", recorded(ask("one")), recorded(ask("two")))
    with StubServer(path, fallback="error") as stub:
        for question in ("one", "one", "other"):
            chat(stub, question)
        when_done(stub)
        got = get(stub, "/metrics")
        assert got.headers["content-type"].startswith("text/plain; version=")
        text = got.body.decode()
        assert numbers(text, "stubserver_requests_total") == {
            (CHAT, "replayed", "200"): 2.0,
            (CHAT, "unmatched", "404"): 1.0,
        }
        buckets = numbers(text, "stubserver_request_duration_seconds_bucket")
        assert buckets["+Inf", CHAT, "replayed", "200"] == 2.0
        assert numbers(text, "stubserver_request_duration_seconds_count")[CHAT, "replayed", "200"] == 2.0
        assert numbers(text, "stubserver_time_to_first_byte_seconds_sum")[CHAT, "replayed", "200"] > 0
        assert numbers(text, "stubserver_journal_entries") == {(): 3.0}
        assert numbers(text, "stubserver_library_interactions") == {(): 2.0}
        # This one alone, when the server has seen that the others ended.
        assert eventually(
            lambda: numbers(get(stub, "/metrics").body.decode(), "stubserver_open_connections") == {(): 1.0}
        )
        assert numbers(text, "stubserver_library_bytes") == {(): float(path.stat().st_size)}


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    with StubServer() as stub:
        chat(stub)
        got = get(stub, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert got.headers["content-type"].startswith("application/openmetrics-text")
        assert list(openmetrics(got.body.decode()))


def test_metrics_count_without_a_journal() -> None:
    with StubServer(journal=False) as stub:
        for _ in range(3):
            chat(stub)
        assert get(stub, "/requests").json == {"requests": [], "meta": {"total": 0}}
        text = get(stub, "/metrics").body.decode()
        assert sum(numbers(text, "stubserver_requests_total").values()) >= 2.0


def test_faults_are_counted_by_name_and_stay_counted() -> None:
    with StubServer(fault=["delay=1,first=1", "status=503,first=2"], limit="rpm=3") as stub:
        for _ in range(4):
            chat(stub)
        stub.faults.set(["html"])
        stub.reset()
        chat(stub)
        text = get(stub, "/metrics").body.decode()

    assert numbers(text, "stubserver_faults_total") == {
        ("delay",): 1.0,
        ("html",): 1.0,
        ("limit",): 1.0,
        ("status",): 2.0,
    }


def test_without_faults_there_is_nothing_to_count() -> None:
    with StubServer() as stub:
        text = get(stub, "/metrics").body.decode()

    assert "# TYPE stubserver_faults_total counter" in text
    assert numbers(text, "stubserver_faults_total") == {}
