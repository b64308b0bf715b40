"""What one request takes among many recordings, and loading them: vcrpy in its own process, ours over a socket.

vcrpy is told to match on bodies, beside its own default: that compares none, and the first recording would answer
everything. Its time is that of the two calls of the cassette that its stubs make for each request; ours holds HTTP, a
socket and the client, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import load_gen
import servers
from report import Part, Series
from servers import Cores

from peers import goals, rounds, stubs

ASKED = 5
"""Requests that vcrpy is asked for: spread evenly, for it looks at one after the other."""
TIMES = 5
SECONDS = 1

VCRPY = """
import json, sys, time
from vcr.cassette import Cassette
from vcr.matchers import body, host, method, path, port, query, scheme

begun = time.perf_counter()
cassette = Cassette.load(path=sys.argv[1], match_on=(method, scheme, host, port, path, query, body))
loaded = time.perf_counter() - begun
requests = cassette.requests
took = []
for number in range(int(sys.argv[2])):
    request = requests[number * (len(requests) - 1) // (int(sys.argv[2]) - 1)]
    begun = time.perf_counter()
    assert cassette.can_play_response_for(request)
    cassette.play_response(request)
    took.append(time.perf_counter() - begun)
print(json.dumps({"loaded": loaded, "took": took}), flush=True)
"""


def measure(count: int, folder: Path, cores: Cores) -> Part:
    """Run all of it."""
    recordings = stubs.recorded(folder / "recordings", count)
    print(f"matching: vcrpy among {count:,}", flush=True)
    with servers.running([*cores.server, sys.executable, "-c", VCRPY, recordings.cassette, str(ASKED)]) as process:
        found = json.loads(servers.read_until(process, "loaded"))
    loaded, rates = _ours(recordings, folder, cores)
    mine = Series(f"stubserver, a request among {count:,}", [1000 / rate for rate in rates], "ms")
    its = Series(f"vcrpy, a request among {count:,}", [seconds * 1000 for seconds in found["took"]], "ms")
    loads = [Series("stubserver, ready after", [loaded], "s"), Series("vcrpy, Cassette.load", [found["loaded"]], "s")]
    return _part(mine, its, loads)


def _ours(recordings: stubs.Recorded, folder: Path, cores: Cores) -> tuple[float, list[float]]:
    """Return how long it takes until it is ready, and rates of all requests in turn on one connection."""
    options = ("--fallback", "error", *rounds.index_of(recordings, folder))
    rates: list[float] = []
    with servers.stubserver(recordings.cassette, *options, pin=cores.server) as server:
        position = 0
        for number in range(TIMES):
            print(f"matching: stubserver, round {number + 1} of {TIMES}", flush=True)
            run = load_gen.turns(server.chat_url, recordings.bodies, position, SECONDS, 1, pin=cores.client)
            load_gen.clean(run)
            position = (position + run.count) % len(recordings.numbers)
            rates.append(run.rate)
    return server.ready, rates


def _part(mine: Series, its: Series, loads: Sequence[Series]) -> Part:
    part = Part("matching", "one request among many recordings", [mine, its, *loads])
    part.goals = goals.of_matching(mine, its)
    part.ratios = [verdict.measured for verdict in part.goals if verdict.measured is not None]
    part.ratios.append(loads[1].over(loads[0], "loading: vcrpy / stubserver"))
    return part
