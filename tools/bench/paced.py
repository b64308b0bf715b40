"""Ask at a constant rate, and say how late the answers are: a client that does not wait for a slow server.

    python tools/bench/paced.py PORT BODIES START RATE SECONDS CONNECTIONS

Request number i is due i / RATE seconds after the beginning, whatever came before it; its latency is counted from that
moment, also when no connection was free to send it then. A client that counts from the sending instead leaves out just
the requests that a stall kept from being sent ("coordinated omission"). One line of JSON comes out: latencies in us.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
PERCENTS = (50.0, 99.0, 99.9, 100.0)
BEGIN_AFTER_SECONDS = 0.05


@dataclass
class Client:
    """So many connections to one server, and what was measured over them, in seconds."""

    port: int
    connections: int
    latencies: list[float] = field(default_factory=list)
    kept: int = 0
    """Requests that were due while no connection was free."""
    errors: int = 0

    def ask(self, requests: Sequence[bytes], rate: float, seconds: float) -> None:
        """Send them in turn at *rate* a second. Raises OSError when a connection ends."""
        socks = {sock.fileno(): sock for sock in (self._connection() for _ in range(self.connections))}
        poll = select.epoll()
        for number in socks:
            poll.register(number, select.EPOLLIN)
        try:
            self._ask(socks, poll, requests, rate, int(rate * seconds))
        finally:
            poll.close()
            for sock in socks.values():
                sock.close()

    def _connection(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _ask(
        self,
        socks: dict[int, socket.socket],
        poll: select.epoll,
        requests: Sequence[bytes],
        rate: float,
        total: int,
    ) -> None:
        free, due_at, parts = deque(socks), dict.fromkeys(socks, 0.0), dict.fromkeys(socks, b"")
        clock, step, sent, answered, count = time.perf_counter, 1 / rate, 0, 0, len(requests)
        due = clock() + BEGIN_AFTER_SECONDS
        while answered < total:
            now = clock()
            while sent < total and due <= now and free:
                self.kept += now - due > step
                number = free.popleft()
                due_at[number] = due
                socks[number].send(requests[sent % count])
                sent += 1
                due += step
            for number, _ in poll.poll(0):
                data = socks[number].recv(262_144)
                if not data:
                    raise ConnectionResetError
                data = parts[number] + data
                if not whole(data):
                    parts[number] = data
                    continue
                parts[number] = b""
                self.latencies.append(clock() - due_at[number])
                self.errors += not data.startswith(b"HTTP/1.1 200")
                answered += 1
                free.append(number)

    def found(self, rate: float) -> dict[str, float]:
        """Return what was measured; latencies in microseconds by their percentile."""
        values = sorted(self.latencies)
        percentiles = {f"p{percent:g}": at(values, percent) * 1e6 for percent in PERCENTS}
        return {"rate": rate, "count": len(values), "kept": self.kept, "errors": self.errors, **percentiles}


def at(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent of the sorted *values* are."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def whole(data: bytes) -> bool:
    """Tell whether an answer with a Content-Length is here."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    at_length = data.find(b"ontent-", 0, end)
    while at_length >= 0 and data[at_length + 7 : at_length + 14].lower() != b"length:":
        at_length = data.find(b"ontent-", at_length + 1, end)
    line_end = data.find(b"\r", at_length)
    return at_length >= 0 and len(data) >= end + 4 + int(data[at_length + 14 : line_end])


def read(bodies: Path, start: int) -> list[bytes]:
    """Return the requests with the bodies of a file, from number *start* on."""
    with bodies.open(encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in islice(lines, start, None)]
    return [f"{HEAD.format(len(text.encode()))}{text}".encode() for text in texts]


def main() -> None:
    """Run it from the command line."""
    port, bodies, start, rate, seconds, connections = sys.argv[1:]
    client = Client(int(port), int(connections))
    requests = read(Path(bodies), int(start))
    gc.disable()
    client.ask(requests, float(rate), float(seconds))
    print(json.dumps(client.found(float(rate))), flush=True)


if __name__ == "__main__":
    main()
