"""What can be seen of a server from the process it runs in: what was asked, what is served, what goes wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from stubserver.app import App
from stubserver.cassettes.library import Library, Report
from stubserver.journal import Journal
from stubserver.tally import Tally

if TYPE_CHECKING:
    from stubserver.faults import Faults
    from stubserver.recording import Plan
    from stubserver.verdict import Verdict

__all__ = ["View"]

_LEAVING_SECONDS: Final = 0.5  # an answer may be with its client before we have written down that it is


class View:
    """The part of ``StubServer`` that only looks, whether the server runs or not."""

    _app: App
    _library: Library
    _plan: Plan | None

    @property
    def journal(self) -> Journal:
        """What was asked and what was done, the newest last."""
        return self._app.journal

    @property
    def app(self) -> App:
        """What answers the requests."""
        return self._app

    @property
    def tally(self) -> Tally:
        """How many answers there were, by path, source and status; also without a journal."""
        return self._app.tally

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose: ``faults.add("429", first=2)``; may be changed while the server runs."""
        return self._app.faulty()

    def verdict(self) -> Verdict:
        """Judge the client by what it did when something went wrong; see :func:`stubserver.verdict.judge`."""
        from stubserver.verdict import judge  # noqa: PLC0415  # start-up: only who asks needs it

        until = time.monotonic() + _LEAVING_SECONDS
        while time.monotonic() < until and not all(entry.done for entry in self.journal if entry.delivery.received):
            time.sleep(0.001)
        return judge(self.journal, self._library.rules.key, self.journal.forgotten)

    def assert_resilient(self) -> None:
        """Raise AssertionError, with the reasons, when the client is not as it should be when something goes wrong."""
        verdict = self.verdict()
        if not verdict.passed:
            raise AssertionError(f"the client is not resilient\n{verdict}")

    @property
    def unplayed(self) -> list[str]:
        """The recordings that nothing asked for yet, each as ``<file>#<n>``."""
        return [recording.label for recording in self._library.playlist.unplayed()]

    @property
    def upstream(self) -> str | None:
        """Where requests without a recording go; None: nowhere."""
        return self._plan.upstream.url if self._plan is not None else None

    @property
    def records(self) -> bool:
        """Whether anything is recorded."""
        return self._plan is not None and self._plan.records

    @property
    def library(self) -> Library:
        """The cassettes that are served."""
        return self._library

    @property
    def report(self) -> Report:
        """What was found damaged, or passed over, when the cassettes were loaded."""
        return self._library.report
