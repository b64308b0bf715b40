"""Listen before anything else is imported: a client that was told the port may connect at once.

datatrove starts a server script and asks it within some 40 ms whether it is ready; after a refusal it waits five
seconds. What connects meanwhile waits in the kernel's queue.
"""

from __future__ import annotations

import _socket
from typing import Final

__all__ = ["give", "listen", "take"]

_HOST: Final = "127.0.0.1"
_WAITING: Final = 1024
_listening: dict[tuple[str, int], _socket.socket] = {}


def listen(arguments: list[str]) -> None:
    """Listen on N when *arguments* begin with ``--port N``, as datatrove's do, and name no other address.

    Whatever is wrong is left to the server, which says it better.
    """
    if len(arguments) < 2 or arguments[0] != "--port" or any(a.startswith("--host") for a in arguments):  # noqa: PLR2004
        return
    port = arguments[1]
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):  # noqa: PLR2004  # TCP's
        return
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, int(port)))
        listener.listen(_WAITING)
    except OSError:
        listener.close()
    else:
        _listening[_HOST, int(port)] = listener


def give(host: str, port: int, descriptor: int) -> None:
    """Let :func:`take` return the *descriptor* of a socket that another process listens on, too."""
    _listening[host, port] = _socket.socket(fileno=descriptor)


def take(host: str, port: int) -> int | None:
    """Return the descriptor of the socket that listens there already; it is the caller's from then on."""
    listener = _listening.pop((host, port), None)
    return None if listener is None else listener.detach()
