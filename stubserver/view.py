"""What can be seen of a server from the process it runs in: what was asked, what is served, what goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stubserver.app import App
from stubserver.cassettes.library import Library, Report
from stubserver.journal import Journal
from stubserver.tally import Tally

if TYPE_CHECKING:
    from stubserver.faults import Faults
    from stubserver.recording import Plan

__all__ = ["View"]


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
