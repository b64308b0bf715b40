"""The goals, as ratios between things measured in the same rounds."""

from __future__ import annotations

from collections.abc import Sequence

from report import Series, Verdict

OF_NGINX = 0.6
FASTEST_PEER = 1.5
SCANNERS = 500.0
AMONG_100_000 = 0.35
JVM_START = 1 / 20
VCRPY = 1000.0

DUMMY = "own answers"
START = "start"
OURS = "stubserver"
NGINX = "nginx, fixed bytes"
ORIGINAL = "original dummy"
OTHERS = {OURS, NGINX, ORIGINAL}
"""What is no peer."""
SCANNING = ("WireMock, JSON compared", "WireMock, text compared", "mountebank")
"""Those whose cost grows with their stubs, as the goals name them."""


def title(count: int) -> str:
    """Name the group of the servers with so many stubs."""
    return f"{count:,} stub{'s' if count > 1 else ''}"


def find(figures: Sequence[Series], group: str, name: str) -> Series | None:
    """Return a figure by its group and its name."""
    return next((figure for figure in figures if (figure.group, figure.name) == (group, name)), None)


def fastest_peer(figures: Sequence[Series], *groups: str) -> Series | None:
    """Return the peer with the highest median in these groups."""
    peers = [figure for figure in figures if figure.group in groups and figure.name not in OTHERS]
    return max(peers, key=lambda figure: figure.median, default=None)


def verdict(name: str, wanted: float, mine: Series | None, its: Series | None, *, most: bool = False) -> Verdict:
    """Divide *mine* by *its*, where both were measured."""
    if mine is None or its is None:
        missing = "ours" if mine is None else "the other one"
        return Verdict(name, wanted, None, most, f"{missing} was not measured")
    return Verdict(name, wanted, mine.over(its, name), most)


def of_throughput(figures: Sequence[Series]) -> list[Verdict]:
    """Judge what was measured in rounds: against nginx, the fastest peer, those that scan their stubs."""
    dummy, hot = (find(figures, group, OURS) for group in (DUMMY, title(1)))
    found = [
        verdict("dummy / nginx", OF_NGINX, dummy, find(figures, DUMMY, NGINX)),
        verdict("hot replay / nginx", OF_NGINX, hot, find(figures, title(1), NGINX)),
    ]
    fastest = fastest_peer(figures, DUMMY, title(1))
    name = fastest.name if fastest is not None else "none"
    found += [
        verdict(f"dummy / the fastest peer ({name})", FASTEST_PEER, dummy, fastest),
        verdict(f"hot replay / the fastest peer ({name})", FASTEST_PEER, hot, fastest),
    ]
    many = title(10_000)
    mine = find(figures, many, OURS)
    found += [verdict(f"10,000 distinct / {name}", SCANNERS, mine, find(figures, many, name)) for name in SCANNING]
    found.append(Verdict("10,000 distinct / Hoverfly", SCANNERS, None, why="it is no registry's package"))
    most = title(100_000)
    far = verdict("100,000 distinct / nginx", AMONG_100_000, find(figures, most, OURS), find(figures, most, NGINX))
    return [*found, far]


def of_starts(figures: Sequence[Series], java: Sequence[str]) -> list[Verdict]:
    """Judge from the start to the first answer: a part of what each peer on the JVM takes."""
    mine = find(figures, START, OURS)
    return [verdict(f"start / {name}", JVM_START, mine, find(figures, START, name), most=True) for name in java]


def of_matching(ours: Series | None, vcrpy: Series | None) -> list[Verdict]:
    """Judge what one request among 10 000 recordings takes: vcrpy's time over ours, by their medians.

    Both were measured several times, but vcrpy's requests are different ones: there are no rounds to pair.
    """
    name = "a request among 10,000: vcrpy / stubserver"
    if ours is None or vcrpy is None:
        return [verdict(name, VCRPY, vcrpy, ours)]
    return [Verdict(name, VCRPY, Series(name, [vcrpy.median / ours.median]))]
