"""Read many paced event streams at the same time, and note when each event came: a process of its own.

    python tools/bench/stream_client.py PORT STREAMS TTFT_MS ITL_MS BODY

All connections are open before the first request; the requests go out over two seconds, so that it is streams that are
measured, and not how a burst is accepted. Prints one line of JSON: for each event how many milliseconds behind its time
it came, as percentiles; its time is when its request was sent, and so many intervals after that.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

WHOLE_EVENT = b"\n\n\r\n"  # the end of an event and of the chunk that it is
LAST_CHUNK = b"0\r\n\r\n"
SPREAD_SECONDS = 2.0
LONGEST_SECONDS = 150.0


class Stream:
    """One stream: when its request was sent, and when how many events had come, in seconds."""

    def __init__(self, port: int, request: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(0)
        self.sent = 0.0
        self.came: list[float] = []
        self._request = request
        self._tail = b""

    def ask(self) -> None:
        """Send the request."""
        self.sent = time.perf_counter()
        self.sock.send(self._request)

    def receive(self) -> bool:
        """Take in what is there; False at the end. Raises OSError where the server ended it before."""
        data = self.sock.recv(65_536)
        now = time.perf_counter()
        text = self._tail + data
        self.came += [now] * (text.count(WHOLE_EVENT) - self._tail.count(WHOLE_EVENT))
        self._tail = text[-len(LAST_CHUNK) :]
        if not data:
            raise ConnectionResetError
        return not text.endswith(LAST_CHUNK)

    def late(self, first_ms: float, interval_ms: float) -> list[float]:
        """Return how many milliseconds behind its time each event came."""
        return [max(0.0, (when - self.sent) * 1000 - first_ms - interval_ms * n) for n, when in enumerate(self.came)]

    def late_after_first(self, interval_ms: float) -> list[float]:
        """Return how many milliseconds behind the first event and so many intervals each other one came."""
        first = self.came[0]
        return [max(0.0, (when - first) * 1000 - interval_ms * n) for n, when in enumerate(self.came)][1:]


def read_all(port: int, count: int, body: bytes) -> list[Stream]:
    """Open so many streams and read each to its end. Raises TimeoutError."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    streams = [Stream(port, head + body) for _ in range(count)]
    by_number = {stream.sock.fileno(): stream for stream in streams}
    time.sleep(SPREAD_SECONDS)
    gc.disable()
    with select.epoll() as epoll:
        for number in by_number:
            epoll.register(number, select.EPOLLIN)
        _read(epoll, streams, by_number)
    return streams


def _read(epoll: select.epoll, streams: Sequence[Stream], by_number: dict[int, Stream]) -> None:
    begun, asked, left = time.perf_counter(), 0, len(streams)
    while left:
        now = time.perf_counter() - begun
        if now > LONGEST_SECONDS:
            raise TimeoutError
        due = min(len(streams), int(now / SPREAD_SECONDS * len(streams)) + 1)
        while asked < due:
            streams[asked].ask()
            asked += 1
        for number, _ in epoll.poll(0.0 if asked < due else 0.001 if asked < len(streams) else 1.0):
            if not by_number[number].receive():
                epoll.unregister(number)
                by_number[number].sock.close()
                left -= 1


def at(values: Sequence[float], part: float) -> float:
    """Return the value that so much of the sorted *values* is not above."""
    return values[min(len(values) - 1, int(part * len(values)))]


def main() -> None:
    """Measure, and print what was found."""
    port, count, first, interval = map(int, sys.argv[1:5])
    streams = read_all(port, count, sys.argv[5].encode())
    late = sorted(value for stream in streams for value in stream.late(first, interval))
    relative = sorted(value for stream in streams for value in stream.late_after_first(interval))
    together = sum(b is a for stream in streams for a, b in pairwise(stream.came))
    found = {
        "events": len(late),
        "late": {name: at(late, part) for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        "late_after_first": {name: at(relative, part) for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
        "together": together / len(late),
        "busy": time.process_time(),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
