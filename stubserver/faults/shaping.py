"""Faults on their way out: what a request gets in place of its answer, or what is done to it.

An answer that a client could not have as a whole is owed to it: the same request gets it when it comes again. So a
fault uses up no recording, and none of the faults ever reaches a cassette.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, Final, Protocol

from stubserver.dummy.errors import envelope
from stubserver.errors import UsageError
from stubserver.faults.asking import Wishes, said_in_prompt
from stubserver.faults.choosing import Asked, Chooser, Chosen
from stubserver.faults.content import broken, with_headers
from stubserver.faults.errors import made
from stubserver.faults.limits import Limit, Limits, limit_of
from stubserver.faults.sending import Plan, Timed, perform, strike
from stubserver.faults.spec import Place, Rule, parsed
from stubserver.messages import Answer, Headers, Request, Response, Step
from stubserver.recorder import source_headers

__all__ = ["Faults"]

Spec = str | Mapping[str, Any]

_SOURCE: Final = "fault"
_SHOWN: Final = "x-stubserver-fault"
_MOST_OWED: Final = 1000
_AT_ONCE: Final = Place()
_NOTHING: Final = Response(0)
_RATE_LIMIT: Final = "limit"


class Pacer(Protocol):
    """What gives answers their pace."""

    def __call__(self, request: Request, answer: Answer) -> Answer:
        """Return *answer* with the script of its pace, or as it is."""

    def timed(self, request: Request, answer: Answer) -> Callable[[list[bytes]], Timed] | None:
        """Return what gives the pieces of its body their time; None: at once."""


class Faults:
    """The faults that are set, and the limits. May be changed at any time, from any thread.

    *specs* are rules as ``--fault`` takes them, or mappings; *seed* settles what is left to chance; *limits* as
    ``--limit`` takes them; *triggers*: prompts may ask for a fault. *refuse* closes the port for so many seconds.
    """

    def __init__(
        self,
        specs: Iterable[Spec] = (),
        *,
        seed: int = 0,
        limits: Iterable[str] = (),
        triggers: bool = False,
        refuse: Callable[[float], None] | None = None,
    ) -> None:
        self.triggers = triggers
        self._refuse = refuse
        self._owed = _Owed()
        self._done: Counter[str] = Counter()
        self._counting = Lock()
        self.seed = seed
        self._chooser = Chooser(map(parsed, specs), seed)
        self._wishes = Wishes(seed)
        self._limits = Limits(map(limit_of, limits))

    def add(self, spec: Spec, **options: Any) -> None:  # noqa: ANN401  # numbers and texts
        """Add a fault: ``add("reset", after_events=3, p=0.1)``. Raises UsageError for what is none."""
        self._chooser.add([parsed(spec, **options)])

    def next(self, *specs: Spec) -> None:
        """Let the next requests get these faults, one each, before all others: a queue."""
        self._chooser.add([parsed(spec, times=1) for spec in specs], first=True)

    def set(self, specs: Iterable[Spec], seed: int | None = None) -> None:
        """Put these faults in the place of all that there are; counting begins anew."""
        rules = [parsed(spec) for spec in specs]
        self.seed = self.seed if seed is None else seed
        self._chooser, self._wishes = Chooser(rules, self.seed), Wishes(self.seed)
        self._owed = _Owed()

    def clear(self) -> None:
        """Take all faults and limits away."""
        self.set(())
        self.limit()

    def restart(self) -> None:
        """Begin to count anew; what is set stays."""
        self._chooser = Chooser([rule for rule, _, _ in self._chooser.counts], self.seed)
        self._wishes = Wishes(self.seed)
        self._limits = Limits(self._limits.limits)
        self._owed = _Owed()

    def limit(self, *limits: str) -> None:
        """Put these rate limits in the place of all that there are: ``limit("rpm=60,tpm=90000")``."""
        self._limits = Limits([limit_of(limit) for limit in limits])

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The rate limits that are set."""
        return self._limits.limits

    @property
    def counts(self) -> Sequence[tuple[Rule, int, int]]:
        """Each fault that is set, with how many requests it has counted and how often it came."""
        return self._chooser.counts

    @property
    def done(self) -> dict[str, int]:
        """How often each kind of fault was done since the server started, whatever was set since; ``limit`` is one."""
        with self._counting:
            return dict(self._done)

    def taken(self) -> dict[str, int]:
        """Return what was :attr:`done` and begin anew: for the faults of another process to :meth:`count`."""
        with self._counting:
            found, self._done = dict(self._done), Counter()
        return found

    def count(self, done: Mapping[str, int]) -> None:
        """Count these, too."""
        with self._counting:
            self._done.update(done)

    def hangs_up(self) -> str:
        """Name the fault by which a connection that was just accepted is closed; empty: it is served."""
        rule = self._chooser.hangs_up() if self._chooser else None
        if rule is None:
            return ""
        self.count({rule.kind.name: 1})
        return rule.what

    def said(self, request: Request) -> tuple[Request, tuple[str, ...]]:
        """Return *request* without the faults that its prompt asks for, and these; where prompts may ask."""
        return said_in_prompt(request) if self.triggers else (request, ())

    def around(
        self, request: Request, key: bytes, said: tuple[str, ...], answered: Callable[[], Answer], pacer: Pacer | None
    ) -> Answer:
        """Answer *request* with what it gets of the faults; *said* are those that it asks for itself.

        *key* is what equal requests share, *answered* answers it as if there were no faults.
        """
        asked = Asked(request)
        taken = self._limits.take(asked) if self._limits.limits else None
        if taken is not None and taken.refusal is not None:
            self.count({_RATE_LIMIT: 1})
            return _in_place(taken.refusal, _RATE_LIMIT)
        try:
            chosen = self._chosen(asked, key, said)
        except UsageError as error:
            response = envelope(400, str(error), code="bad_fault", headers=source_headers("unmatched"))
            return Answer(response, "unmatched")
        answer = self._shaped(asked, key, chosen, answered, pacer)
        return answer if taken is None else _limited(answer, taken.headers)

    def _chosen(self, asked: Asked, key: bytes, said: tuple[str, ...]) -> list[Chosen]:
        if said:
            wished = self._wishes.chooser(key, said).choose(asked)
            if wished:
                return wished
        return self._chooser.choose(asked) if self._chooser else []

    def _shaped(
        self, asked: Asked, key: bytes, chosen: list[Chosen], answered: Callable[[], Answer], pacer: Pacer | None
    ) -> Answer:
        timing = tuple(each for each in chosen if each.rule.kind.family == "timing")
        main = next((each for each in chosen if each.rule.kind.family != "timing"), None)
        if main is not None and _is_instead(main):
            return self._instead(asked, main, timing)
        answer = self._owed.take(key) or answered()
        shaped = _broken(answer, main)
        if shaped is None:  # there is nothing in it to break
            main, shaped = None, answer
        if main is not None and not main.rule.kind.harmless and answer.source == "replayed":
            self._owed.add(key, answer)
        done = self._counted(timing, main)
        if not done:
            return shaped if pacer is None else pacer(asked.request, shaped)
        if answer.forwarded:
            answer.fault = done  # it is this one that the journal has
        shaped = with_headers(shaped, (*shaped.response.headers, (_SHOWN, done))).changed(fault=done)
        if timing or (main is not None and main.rule.kind.family == "sending"):
            return _scripted(asked.request, shaped, timing, main, pacer)
        return shaped if pacer is None else pacer(asked.request, shaped)

    def _counted(self, timing: tuple[Chosen, ...], main: Chosen | None) -> str:
        """Count what is done to one answer, and name it."""
        rules = [each.rule for each in (*timing, main) if each is not None]
        if rules:
            self.count(Counter(rule.kind.name for rule in rules))
        return "; ".join(rule.what for rule in rules)

    def _instead(self, asked: Asked, main: Chosen, timing: tuple[Chosen, ...]) -> Answer:
        what = self._counted(timing, main)
        response = made(main, asked)
        if response is not None:
            answer = _in_place(response, what)
            return _scripted(asked.request, answer, timing, None, None) if timing else answer
        if main.rule.kind.name == "refuse" and self._refuse is not None:
            self._refuse(main.rule.number / 1000)
        return Answer(_NOTHING, _SOURCE, script=partial(_nothing, main, timing), fault=what)


def _is_instead(main: Chosen) -> bool:
    """Tell whether no answer is needed for it."""
    kind, place = main.rule.kind, main.rule.place
    return kind.family in {"instead", "server"} or (kind.name in {"reset", "close"} and place == _AT_ONCE)


def _broken(answer: Answer, main: Chosen | None) -> Answer | None:
    """Return *answer* with what is wrong with its content; None when it cannot have that fault."""
    if main is None or main.rule.kind.family == "sending":
        streamed = main is None or (main.rule.place.events is None and main.rule.kind.name != "split-utf8")
        return answer if streamed or answer.response.events else None
    return broken(answer, main)


def _in_place(response: Response, what: str) -> Answer:
    headers = (*response.headers, *source_headers(_SOURCE), (_SHOWN, what))
    return Answer(response._replace(headers=headers), _SOURCE, fault=what)


def _scripted(
    request: Request, answer: Answer, timing: tuple[Chosen, ...], main: Chosen | None, pacer: Pacer | None
) -> Answer:
    timed = (pacer.timed(request, answer) if pacer is not None else None) or _now
    plan = Plan(timing, main, timed, answer.live, drains=answer.source == "recorded")
    return answer.changed(script=partial(perform, plan))


def _now(pieces: list[bytes]) -> Timed:
    return ((0.0, piece) for piece in pieces)


def _nothing(main: Chosen, timing: tuple[Chosen, ...], _response: Response, _flags: int) -> Generator[Step]:
    """Send no answer at all."""
    for each in timing:
        if each.rule.kind.name == "delay":
            yield Step(each.rule.value.draw(each.chance) / 1000, leaves=True)
    name = main.rule.kind.name
    if name == "black-hole":
        yield Step(main.rule.number / 1000, end="close", leaves=True)
    elif name == "garbage":
        yield Step(0.0, main.chance.randbytes(main.rule.number), "close")
    elif name == "refuse":
        yield Step(end="reset")
    else:
        yield from strike(main)


def _limited(answer: Answer, headers: Headers) -> Answer:
    """Put what is left of the limits on *answer*, in place of what was recorded of others."""
    names = {name for name, _ in headers}
    own = answer.response.headers
    if answer.response is _NOTHING or (answer.source == _SOURCE and names & {name for name, _ in own}):
        return answer
    return with_headers(answer, (*(pair for pair in own if pair[0].lower() not in names), *headers))


class _Owed:
    """Recorded answers that were played and did not arrive, by the key of their request."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, deque[Answer]] = OrderedDict()
        self._lock = Lock()

    def add(self, key: bytes, answer: Answer) -> None:
        with self._lock:
            self._answers.setdefault(key, deque()).append(answer)
            if len(self._answers) > _MOST_OWED:
                self._answers.popitem(last=False)

    def take(self, key: bytes) -> Answer | None:
        if not self._answers:
            return None
        with self._lock:
            waiting = self._answers.get(key)
            if waiting is None:
                return None
            answer = waiting.popleft()
            if not waiting:
                del self._answers[key]
            return answer
