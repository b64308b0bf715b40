"""An upstream behind TLS, for real: its certificate is checked, and everything else is as without."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from faulty_upstream import DONE, STREAM, WHOLE, answer, stream, upstream
from raw import Raw, chat, eventually

from stubserver.stub import StubServer

LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(cert: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def recording(tmp_path: Path, url: str, **options: Any) -> StubServer:
    return StubServer(tmp_path / "tape.yaml", record_mode="new_episodes", upstream=url, **options)


def ask(stub: StubServer, request: bytes) -> tuple[int, bytes]:
    with Raw(("127.0.0.1", stub.port)) as client:
        return client.ask(request)


def test_with_the_bundle_it_is_trusted_recorded_and_played(authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    with upstream(server_side(authority.issue_cert("localhost"))) as up:
        with recording(tmp_path, up.url, ca_bundle=bundle) as stub:
            up.otherwise = answer(WHOLE)
            assert ask(stub, chat()) == (200, WHOLE)
            up.otherwise = stream(*STREAM)
            assert ask(stub, chat(stream=True)) == (200, b"".join(STREAM))
            assert [entry.note for entry in stub.journal] == ["", ""]
        assert up.connections == 1
    with StubServer(tmp_path / "tape.yaml", fallback="error") as stub:
        assert ask(stub, chat()) == (200, WHOLE)
        assert ask(stub, chat(stream=True)) == (200, b"".join(STREAM))
    assert f"uri: {up.url}/v1/chat/completions" in (tmp_path / "tape.yaml").read_text()


@pytest.mark.parametrize("wrong", ["of nobody we know", "for another name", "expired", "not signed by the bundle's"])
def test_a_certificate_that_is_wrong_is_refused(
    wrong: str, authority: trustme.CA, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert = {
        "for another name": lambda: authority.issue_cert("example.com"),
        "expired": lambda: authority.issue_cert("localhost", not_after=LONG_AGO),
        "not signed by the bundle's": lambda: trustme.CA().issue_cert("localhost"),
    }.get(wrong, lambda: authority.issue_cert("localhost"))()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, bundle)  # what the environment trusts does not count
    options = {} if wrong == "of nobody we know" else {"ca_bundle": bundle}
    with upstream(server_side(cert)) as up, recording(tmp_path, up.url, **options) as stub:
        status, body = ask(stub, chat())
        assert "certificate was not accepted" in stub.journal[-1].note
        assert up.asked == []

    assert status == 502
    assert "--ca-bundle" in json.loads(body)["error"]["message"]
    assert not (tmp_path / "tape.yaml").exists()


def test_an_upstream_that_speaks_no_tls_is_refused(bundle: str, tmp_path: Path) -> None:
    def plain(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65_536)
            sock.sendall(answer(b"{}", status="400 This port speaks HTTP"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=plain, args=(listener,))
        thread.start()
        with recording(tmp_path, f"https://localhost:{listener.getsockname()[1]}", ca_bundle=bundle) as stub:
            assert ask(stub, chat())[0] == 502
        thread.join()


def test_a_client_that_leaves_a_silent_upstream_ends_the_request(
    authority: trustme.CA, bundle: str, tmp_path: Path
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def say(sock: socket.socket) -> None:
        sock.settimeout(None)
        sock.sendall(stream(STREAM[0], end=b""))
        asked.set()
        with suppress(OSError):
            sock.recv(1)
        ended.set()

    with upstream(server_side(authority.issue_cert("localhost"))) as up:
        up.otherwise = say
        with recording(tmp_path, up.url, ca_bundle=bundle) as stub:
            with Raw(("127.0.0.1", stub.port)) as client:
                client.send(chat(stream=True)).head()
                assert asked.wait(60)
            assert ended.wait(60)
            assert eventually(lambda: len(stub.journal))
            assert "the client left" in stub.journal[-1].note


def test_the_command_line_takes_the_bundle(authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    with upstream(server_side(authority.issue_cert("localhost"))) as up:
        up.otherwise = stream(*STREAM)
        command = [sys.executable, "-m", "stubserver", "record", str(tmp_path / "t.yaml"), "--port", "0"]
        command += ["--upstream", up.url, "--ca-bundle", bundle]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
            assert running.stdout is not None
            port = int(running.stdout.readline().rpartition(":")[2])
            with Raw(("127.0.0.1", port)) as client:
                assert client.ask(chat(stream=True)) == (200, b"".join(STREAM))
            running.terminate()
            running.stdout.read()
    assert running.returncode == 0
    assert DONE.decode().strip() in (tmp_path / "t.yaml").read_text()
