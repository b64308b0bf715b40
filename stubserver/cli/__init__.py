"""The command line. The only door to click and rich.

Each command is imported when it is first named: the server starts without what the others need.
"""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword
from typing import Any, Final

import click

from stubserver import __version__
from stubserver.errors import StubserverError

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "serve": "serving",
    "record": "serving",
    "show": "cassettes",
    "check": "cassettes",
    "diff": "comparing",
    "scrub": "cassettes",
    "faults": "faults",
    "verdict": "faults",
    "index": "indexing",
    "import": "interchange",
    "export": "interchange",
    "merge": "merging",
    "split": "merging",
}
"""Each command's name, and the module it is in; the function there has the command's name, ``-`` as ``_``.

``import``, which Python has for itself, is ``import_``.
"""

EXAMPLES: Final = """
\b
Examples:
  stubserver serve                              answer everything with the dummy
  stubserver serve cassettes/                   recorded answers first, then the dummy
  stubserver serve chat.yaml --fallback error   recorded answers only: a miss is an error
  stubserver record --upstream URL new.yaml     pass requests on, and keep the answers
  stubserver show cassettes/                    what is in the cassettes
  stubserver index cassettes/ --jobs 4          read a large library ahead
  stubserver check cassettes/                   what is damaged, unsafe or secret in them
  stubserver import traffic.har chat.yaml       what a browser or another tool recorded

Then point a client at it: OPENAI_BASE_URL=http://127.0.0.1:8080/v1
"""


_OWN: Final = ("-h", "--help", "--version")


class _Commands(click.Group):
    """Imports a command when it is named; turns our errors into one line and exit status 2.

    Options without a command are those of ``serve``: datatrove starts a server script with ``--port N`` and no more.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in _OWN:
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's
        try:
            return super().invoke(ctx)
        except StubserverError as error:
            raise click.UsageError(str(error)) from error


def _hyphens(name: str) -> str:
    """Let options be written as the keyword arguments of StubServer are: ``--record_mode``."""
    return name.replace("_", "-")


_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "token_normalize_func": _hyphens}


@click.group(cls=_Commands, epilog=EXAMPLES, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="stubserver")
def main() -> None:
    """Stand in for an OpenAI-style model API: replay recorded answers, and make up the rest."""
