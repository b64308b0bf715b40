"""The numbers of the server in Prometheus' text format, or in OpenMetrics' where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from stubserver.admin.calls import Call
from stubserver.messages import Response, header
from stubserver.redaction import clean_text
from stubserver.tally import BOUNDS

if TYPE_CHECKING:
    from stubserver.admin.context import Context

__all__ = ["metrics"]

_LABELS: Final = ("source", "path", "status")


def metrics(context: Context, call: Call) -> Response:
    """``GET metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(context))
    # Only which of the two formats: for some of what may stand behind it, prometheus_client raises TypeError.
    wanted = "application/openmetrics-text"
    encode, kind = choose_encoder(wanted if wanted in (header(call.request.headers, "accept") or "").lower() else "")
    return Response(200, (("content-type", kind),), encode(registry))


class _Numbers(Collector):
    """Everything that can be counted, at this moment."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._answers()
        yield self._faults()
        yield from self._sizes()

    def _answers(self) -> Iterator[Metric]:
        total = CounterMetricFamily("stubserver_requests", "Answers that have left.", labels=_LABELS)
        cut = CounterMetricFamily("stubserver_answers_cut", "Answers whose client left before the end.", labels=_LABELS)
        took = HistogramMetricFamily(
            "stubserver_request_duration_seconds", "From the whole request to the last byte.", labels=_LABELS
        )
        first = HistogramMetricFamily(
            "stubserver_time_to_first_byte_seconds", "From the whole request to the first byte.", labels=_LABELS
        )
        for (path, source, status), cell in sorted(self._context.app.tally.cells().items()):
            labels = (source, clean_text(path), str(status))
            total.add_metric(labels, cell.count)
            cut.add_metric(labels, cell.cut)
            took.add_metric(labels, _buckets(cell.durations), cell.seconds)
            first.add_metric(labels, _buckets(cell.first_bytes), cell.first_seconds)
        yield from (total, cut, took, first)

    def _faults(self) -> Metric:
        done = CounterMetricFamily("stubserver_faults", "Faults that were done on purpose.", labels=("fault",))
        faults = self._context.app.faults
        for name, count in sorted(faults.done.items()) if faults is not None else ():
            done.add_metric((name,), count)
        return done

    def _sizes(self) -> Iterator[Metric]:
        app = self._context.app
        library = app.library
        numbers = (
            ("stubserver_open_connections", "Connections that are open.", self._context.connections()),
            ("stubserver_journal_entries", "Requests that the journal keeps.", len(app.journal)),
            ("stubserver_journal_bytes", "About how much memory they take.", app.journal.bytes),
            ("stubserver_library_cassettes", "Cassettes that are served.", len(library.files)),
            ("stubserver_library_interactions", "Interactions in them.", len(library.playlist)),
            ("stubserver_library_bytes", "The size of their files.", sum(file.stamp[0] for file in library.files)),
            (
                "stubserver_library_problems",
                "Items that are damaged.",
                sum(len(file.problems) for file in library.files),
            ),
            ("stubserver_start_time_seconds", "When the server started.", self._context.started),
        )
        for name, text, value in numbers:
            yield GaugeMetricFamily(name, text, value)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Return the counts as Prometheus has them: each with all of those below."""
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True))
