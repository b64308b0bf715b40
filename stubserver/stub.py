"""StubServer, the facade: a server with its cassettes, started and stopped in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from stubserver import options
from stubserver.alone import Alone, Staff
from stubserver.app import App
from stubserver.canonical import DEFAULT_MATCH_ON, Rules
from stubserver.cassettes.library import Library, Report
from stubserver.cassettes.playlist import OnExhausted, clean_secrets
from stubserver.connection import ServerSettings
from stubserver.dummy.settings import DEFAULT_TEXT, DummySettings
from stubserver.errors import UsageError
from stubserver.journal import Journal
from stubserver.messages import Answer, Request
from stubserver.options import StrPath
from stubserver.places import settle
from stubserver.recorder import Fallbacks
from stubserver.server import Server
from stubserver.startable import Startable
from stubserver.view import View
from stubserver.wire import Limits

if TYPE_CHECKING:
    from stubserver.admin import Admin
    from stubserver.recording import Plan, RecordOptions

__all__ = ["StubServer"]

_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 0.5
_JOIN_SECONDS = 1.0
_NOT_FOR_WORKERS = frozenset({"self", "paths", "port", "workers", "on_report", "recording"})
_NOT_FOUND = 404
_SKIPPABLE = 400  # of all errors, the one that a datatrove pipeline can go on after
_RECORD_MODES = ("none", "once", "new_episodes", "all")


class StubServer(View, Startable):
    """A stub of an OpenAI-style API: recorded answers first, then the fallback.

    *paths* are cassettes or folders searched for them; none at all: every answer is the dummy's. The options are
    those of ``stubserver serve``. Use it as a context manager, or call :meth:`start` and :meth:`stop`:

    >>> with StubServer() as stub:
    ...     stub.base_url
    'http://127.0.0.1:.../v1'

    Raises UsageError for options that cannot be. Damaged cassettes are no error: see ``report``.
    """

    def __init__(  # noqa: PLR0913  # the options of the command line
        self,
        *paths: StrPath | Iterable[StrPath],
        host: str = "127.0.0.1",
        port: int = 0,
        style: str = "openai",
        fallback: Fallbacks | str | None = None,
        match_on: Iterable[str] | str = DEFAULT_MATCH_ON,
        ignore: Iterable[str] = (),
        drift: str = "refuse",
        on_exhausted: OnExhausted | str = OnExhausted.LAST,
        error_status: int | None = None,
        index: StrPath | None = None,
        dummy_text: str = DEFAULT_TEXT,
        dummy_tokens: int = 100,
        dummy_tools: str = "none",
        models: Iterable[str] = ("dummy-model",),
        max_body: int = Limits().body,
        timeout: float = 10.0,
        max_connections: int = 16_384,
        workers: int = 1,
        journal: bool | Journal = True,
        require_key: str | bool = False,
        admin: bool = True,
        admin_token: str | None = None,
        allowed_host: Iterable[str] = (),
        on_report: Callable[[Report], None] | None = None,
        pace: str | float = "none",
        ttft: float | None = None,
        itl: float | None = None,
        fault: Iterable[str] | str = (),
        faults: StrPath | None = None,
        fault_seed: int | None = None,
        fault_triggers: bool = False,
        limit: Iterable[str] | str = (),
        record_mode: str | None = None,
        upstream: str | None = None,
        **recording: Unpack[RecordOptions],
    ) -> None:
        chosen = {name: value for name, value in locals().items() if name not in _NOT_FOR_WORKERS}
        in_pipeline = options.choice_of("style", style, ("openai", "datatrove")) == "datatrove"
        given = options.flat(paths)
        if record_mode is None:
            record_mode = "new_episodes" if in_pipeline and upstream else "none"
        self._record_mode = options.choice_of("record_mode", record_mode, _RECORD_MODES)
        if fallback is None:
            fallback = Fallbacks.ERROR if in_pipeline and given else Fallbacks.DUMMY
        if error_status is None:
            error_status = _SKIPPABLE if in_pipeline else _NOT_FOUND
        notes: list[str] = []
        rank = recording.get("rank")
        places, recorded, self._outbox = settle(given, records=record_mode != "none", rank=rank, say=notes.append)
        self._plan: Plan | None = None
        self._recordable = (recorded, upstream, recording)
        forwards = record_mode != "none" or fallback == Fallbacks.FORWARD
        ours, reaches = bool(recording.get("upstream_key_env")), forwards or upstream is not None
        keys, recording["proof"] = options.keys(given=require_key, ours=ours, forwards=reaches)
        if forwards:
            from stubserver.recording import Plan  # noqa: PLC0415  # start-up: only recording and forwarding need it

            self._plan = Plan(recorded, record_mode, upstream, recording, notes.append)
            places = [*places, *self._plan.parts]
        self._rules = Rules(tuple(match_on.split(",") if isinstance(match_on, str) else match_on), tuple(ignore))
        index_path, index_above = options.index_path(index)
        self._library = Library(
            places,
            self._rules,
            # While recording, a request whose recordings were all played is a new one.
            on_exhausted="error"
            if self.records
            else options.choice_of("on_exhausted", on_exhausted, tuple(OnExhausted)),
            drift=options.choice_of("drift", drift, ("refuse", "allow")) == "allow",
            to_come=self.records,
            only=self._plan.file_prefix if self._plan is not None else "",
            scrub=clean_secrets if self._plan is None else self._plan.scrub,
            index=index_path,
            index_above=index_above,
        )
        self._library.report.warnings[:0] = notes
        self._app = App(
            self._library,
            fallback=options.choice_of("fallback", fallback, tuple(Fallbacks)),
            settings=DummySettings(
                text=dummy_text,
                tokens=options.token_count(dummy_tokens),
                models=tuple(models),
                tools=options.choice_of("dummy_tools", dummy_tools, ("none", "auto")),
                style=style,
            ),
            error_status=options.error_status(error_status),
            journal=journal if isinstance(journal, Journal) else Journal() if journal else Journal(most=0),
            on_report=on_report,
        )
        self._app.keys = keys
        if self._plan is not None:
            self._plan.connect(self._app)
        self.set_pace(pace, ttft, itl)
        options.faults(self._app, fault, faults, fault_seed, limit, triggers=fault_triggers)
        self._admin: Admin | None = None
        self._token = options.admin_token(admin_token)
        self._allowed = tuple(allowed_host)
        if admin:
            self._app.admin = self._answer_admin
        self._settings = ServerSettings(
            timeout=options.seconds(timeout),
            connections=options.at_least_one("max_connections", max_connections),
            limits=Limits(body=options.at_least_one("max_body", max_body)),
        )
        self._staff = self._staffed(options.at_least_one("workers", workers), places, {**chosen, **recording})
        self._address = (host, port)
        self._server: Server | None = None
        self._started = 0.0
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._lock = threading.RLock()  # a signal handler may call stop() while its thread is in start()

    def _staffed(self, workers: int, places: list[Path], chosen: dict[str, object]) -> Staff:
        options.one_process(alone=workers == 1 or not (self.records or self._app.faults is not None))
        if workers == 1:
            return Alone()
        from stubserver.crew import Crew  # noqa: PLC0415  # start-up: most have one process

        return Crew(workers, [str(place) for place in places], chosen, self._app)

    def start(self) -> Self:
        """Listen and serve; returns when the first request can come. Starting twice is an error."""
        with self._lock:
            if self._server is not None:
                msg = "the stub is running already: stop it first"
                raise UsageError(msg)
            server = Server(*self._address, self._app, self._settings)
            self._app.refuse = server.refuse
            try:
                if self._plan is not None:
                    self._plan.refuse_loop(self._address[0], server.server_port)
                if self._app.admin is not None and self._token is None:
                    options.refuse_strangers(self._address[0], str(server.server_address[0]))
                serve = self._staff.serve(server, self._answer_admin if self._app.admin is not None else None)
            except UsageError:
                server.server_close()
                raise
            self._ended = threading.Event()
            self._threads = list(self._threads_of(serve))
            self._server, self._started = server, time.time()
            try:
                for thread in self._threads:
                    thread.start()
            except RuntimeError:  # the system has no thread left
                self.stop()
                raise
        return self

    def _threads_of(self, serve: Callable[[], None]) -> Iterator[threading.Thread]:
        """Yield what runs while we serve; the accepting thread first."""
        ended = self._ended
        yield threading.Thread(target=serve, name="stubserver-accept", daemon=True)
        if self._library.watched:
            yield threading.Thread(target=self._watch, args=(ended,), name="stubserver-watch", daemon=True)
        if self._outbox is not None and self._plan is not None:
            self._outbox.open()
            arguments = (ended, self._plan.finish_parts)
            yield threading.Thread(target=self._outbox.run, args=arguments, name="stubserver-send", daemon=True)

    def stop(self, grace: float = _GRACE_SECONDS) -> None:
        """Stop serving and close every connection; answers under way get *grace* seconds to finish.

        May be called before the start, twice, and in a forked child (where it lets go of the parent's server). Raises
        CassetteError when what was recorded to a URL could not be sent there; it stays here until it can.
        """
        if self._server is not None and not self._server.owned:
            self._server = None  # in a forked child all is closed already, and a lock may have been held for ever
            return
        with self._lock:
            server, self._server = self._server, None
            threads, ended = self._threads, self._ended
        if server is None:
            return
        ended.set()
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.end()
        server.shutdown()
        self._staff.end()
        for thread in threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)
        server.server_close()
        server.end_connections(grace)
        self._library.close()
        self._staff.close()
        if self._plan is not None:
            self._plan.close()
        if self._outbox is not None:
            self._outbox.close()

    def set_pace(self, pace: str | float = "none", ttft: float | None = None, itl: float | None = None) -> None:
        """Set how fast answers are sent from now on, as the options of the same names do. Raises UsageError."""
        if (pace, ttft, itl) == ("none", None, None):
            self._app.pacer = None
            return
        from stubserver.pacing import pace_of, pacer_of  # noqa: PLC0415  # start-up: most are sent at once

        self._app.pacer = pacer_of(pace_of(pace, ttft, itl))

    def _watch(self, ended: threading.Event) -> None:
        if not ended.wait(_LOOK_SECONDS):
            # The first miss would wait for it; the start, and what is asked at once, does not.
            import stubserver.scrubbing  # noqa: F401, PLC0415
        while not ended.wait(_LOOK_SECONDS):
            self._app.look_again()

    @property
    def port(self) -> int:
        """The port that is listened on. UsageError before the start."""
        if self._server is None:
            msg = "the stub is not running: start it first"
            raise UsageError(msg)
        return self._server.server_port

    @property
    def running(self) -> bool:
        """Whether connections are accepted."""
        return self._server is not None and self._threads[0].is_alive()

    @property
    def journal(self) -> Journal:
        """What was asked and what was done, the newest last."""
        self._staff.collect(self._server)
        return super().journal

    def _answer_admin(self, request: Request) -> Answer:
        """Answer a call of the admin API, which is only put together when the first one comes."""
        with self._lock:
            if self._admin is None:
                from stubserver.admin import Admin, Context, Guard  # noqa: PLC0415  # start-up: most are never asked

                context = Context(
                    self._app, self.reset, self.open_connections, self._record_next, self._options, self._started
                )
                self._admin = Admin(context, Guard(self._address[0], self._allowed, self._token))
        self._staff.collect(self._server)
        answer = self._admin.answer(request)
        if request.method == "PUT":
            self._staff.settings_changed(self._app)
        return answer

    def _record_next(self, request: Request) -> None:
        """Ask the upstream when *request* comes again, and keep what it says. Raises UsageError."""
        if self.records:
            return  # it would be anyway
        options.one_process(alone=self._staff.can_record)
        with self._lock:
            if self._app.once is None:
                from stubserver.recording import once  # noqa: PLC0415  # start-up: hardly anybody needs it

                self._app.once = once(self._app, *self._recordable)
        self._app.once.add(self._rules.key(request))

    def _options(self) -> dict[str, object]:
        """Return what the server was started with, as far as somebody who asks the admin API may want to know."""
        return {
            "record_mode": self._record_mode,
            "upstream": self._recordable[1],
            "can_record": bool(self._recordable[0] and self._recordable[1] and self._staff.can_record),
            "match_on": list(self._rules.match_on),
            "ignore": list(self._rules.ignore),
            "journal": self._app.journal.is_on,
            "cassettes": self._library.names,
        }

    def open_connections(self) -> int:
        """Count the open connections."""
        return self._staff.collect(self._server)

    def reset(self) -> None:
        """Forget what was played, empty the journal, and count faults and limits anew."""
        self._library.reset()
        self._staff.cleared()
        self._app.journal.clear()
        if self._app.faults is not None:
            self._app.faults.restart()
