"""What is started and stopped, has an address meanwhile, and may be a context manager."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Startable"]


class Startable:
    """Something with ``start``, ``stop`` and a ``port``."""

    _address: tuple[str, int]

    def start(self) -> Self:
        """Start it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that is listened on."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """``http://host:port``, without a slash at the end."""
        host = self._address[0]
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client wants for its base URL: ``…/v1``."""
        return f"{self.url}/v1"

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
