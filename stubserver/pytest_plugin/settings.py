"""The plugin's options: command line before marker, marker before ``stub_options``, those before the ini file."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, NoReturn

import pytest

__all__ = ["Settings", "add_options", "settings_of"]

_RECORD_MODES: Final = ("none", "once", "new_episodes", "all", "rewrite")
_FALLBACKS: Final = ("error", "dummy", "forward")


class Settings(NamedTuple):
    """How a test is served and judged.

    ``max_age`` is in days, None for no limit. ``allow_unmatched``: a request without a recording fails no test.
    ``options`` are further ones of StubServer.
    """

    record_mode: str = "none"
    upstream: str | None = None
    fallback: str = "error"
    strict: bool = False
    max_age: float | None = None
    allow_unmatched: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012  # never written to


def add_options(parser: pytest.Parser) -> None:
    """Add ``--stub-...``; each that says how a test is served has an ini setting of the same name."""
    group = parser.getgroup("stubserver", "stubserver: recorded answers of model APIs")
    group.addoption("--stub-record-mode", choices=_RECORD_MODES, help="What is recorded (none).")
    group.addoption("--stub-upstream", metavar="URL", help="The API to record from.")
    group.addoption("--stub-fallback", choices=_FALLBACKS, help="What answers a request without a recording (error).")
    group.addoption(
        "--stub-strict", action="store_true", default=None, help="Fail tests that left recordings unplayed."
    )
    group.addoption("--stub-max-age", type=float, metavar="DAYS", help="Fail tests that played older recordings.")
    group.addoption("--stub-report", action="store_true", help="Say at the end which cassettes were played.")
    group.addoption("--stub-drop-unused", action="store_true", help="Remove the recordings that no test played.")
    parser.addini("stub_record_mode", f"one of {', '.join(_RECORD_MODES)}", default="none")
    parser.addini("stub_upstream", "the API to record from", default="")
    parser.addini("stub_fallback", f"one of {', '.join(_FALLBACKS)}", default="error")
    parser.addini("stub_strict", "fail tests that left recordings unplayed", type="bool", default=False)
    parser.addini("stub_max_age", "days that a recording may be old", default="")


def settings_of(config: pytest.Config, item: pytest.Item | None, options: dict[str, Any]) -> Settings:
    """Return what holds for *item*; None: for the whole session. *options* is what ``stub_options`` gave."""
    marked: dict[str, Any] = dict(options)
    for marker in reversed(list(item.iter_markers("stub")) if item else []):
        marked |= marker.kwargs
    known = {
        name: _chosen(config, name, marked) for name in ("record_mode", "upstream", "fallback", "strict", "max_age")
    }
    allow = bool(marked.pop("allow_unmatched", False))
    _check("record_mode", known["record_mode"], _RECORD_MODES)
    _check("fallback", known["fallback"], _FALLBACKS)
    if known["record_mode"] == "none" and known["fallback"] == "forward":
        _refuse(
            "stub_fallback 'forward' asks the upstream, and record mode 'none' opens no connection to it: "
            "give --stub-record-mode once, which plays the cassettes that are there and forwards the rest"
        )
    age = known["max_age"]
    return Settings(
        record_mode=known["record_mode"],
        upstream=known["upstream"] or None,
        fallback=known["fallback"],
        strict=bool(known["strict"]),
        max_age=_days(age) if age not in (None, "") else None,
        allow_unmatched=allow,
        options=marked,
    )


def _chosen(config: pytest.Config, name: str, marked: dict[str, Any]) -> Any:  # noqa: ANN401  # of many types
    """Return an option's value, and take it out of what is *marked*."""
    on_marker = marked.pop(name, None)
    given = config.getoption(f"stub_{name}")
    if given is not None:
        return given
    return config.getini(f"stub_{name}") if on_marker is None else on_marker


def _check(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        _refuse(f"stub_{name} {value!r} is not known: choose from {', '.join(choices)}")


def _days(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        _refuse(f"stub_max_age {text!r} is no number of days")


def _refuse(text: str) -> NoReturn:
    """Make it the test's error, without a traceback through this plugin."""
    pytest.fail(f"stubserver: {text}", pytrace=False)
