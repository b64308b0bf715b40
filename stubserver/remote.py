"""Cassettes behind a URL (``s3://``, ``gs://``, ``hf://``): a local copy to play, finished parts of what is recorded.

The only door to fsspec, which knows the schemes.
An object store cannot append, so what is recorded is written to a folder on this machine and sent in parts; a part that
was sent is never written again. What a killed process did not send is sent by the next one on the same machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from stubserver.cassettes.library import ENDINGS
from stubserver.cassettes.writer import repair
from stubserver.errors import CassetteError, UsageError

__all__ = ["Outbox", "fetch", "is_url"]

_SEND_SECONDS: Final = 30.0
_LOCK: Final = ".lock"
_INDEX: Final = ".index.json"
_FETCHED: Final = "fetched"
_LEFT: Final = "new-"
_SENT: Final = ".sent"


def is_url(place: object) -> bool:
    """Tell a URL from a path."""
    return isinstance(place, str) and "://" in place


def fetch(url: str, prefix: str = "", *, to_come: bool = False) -> Path:
    """Bring the cassettes below *url* to this machine and return the folder they are in; only what changed is read.

    Of a folder only files whose names begin with *prefix*. Processes that fetch the same URL wait for one another.
    Raises UsageError for a URL that cannot be read, or holds no cassettes unless they are *to_come*.
    """
    system, root = _system(url)
    home = _home(url)
    folder = home / _FETCHED
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(home / _LOCK):
        try:
            there = dict(_listed(system, root, prefix))
            _update(system, folder, there, prefix)
        except Exception as error:  # each file system has errors of its own
            msg = f"{url}: cannot be read: {type(error).__name__}: {error}"
            raise UsageError(msg) from error
    if not (there or to_come):
        msg = f"{url}: there are no cassettes; give the URL of one (.yaml, .yml, .json, each also .gz) or of a folder"
        raise UsageError(msg)
    return folder


def _system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for *url*, and the path in it."""
    try:
        import fsspec  # noqa: PLC0415  # only URLs need it

        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        msg = (
            f"{url}: {error}; URLs need fsspec and the package for their scheme: pip install 'stubserver[remote]' s3fs"
        )
        raise UsageError(msg) from error
    return system, str(root).rstrip("/")


def _home(url: str) -> Path:
    """Return this machine's folder for *url*."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = blake2b(url.rstrip("/").encode(), digest_size=12).hexdigest()
    return Path(base, "stubserver", name)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _listed(system: Any, root: str, prefix: str) -> Iterator[tuple[str, tuple[str, list[Any]]]]:  # noqa: ANN401  # fsspec has no types
    """Yield each cassette's name below *root*, with its path there and what changes when it does."""
    system.invalidate_cache()
    for path, info in sorted(system.find(root, detail=True).items()):
        # One file, and not a folder: its name is the last part of its own path.
        name = path[len(root) :].lstrip("/") or path.rpartition("/")[2]
        parts = name.split("/")
        if name.endswith(ENDINGS) and parts[-1].startswith(prefix) and not any(p.startswith(".") for p in parts):
            yield name, (path, [info.get("size"), _version(info)])


def _version(info: dict[str, Any]) -> str:
    names = ("ETag", "etag", "md5Hash", "sha256", "blob_id", "mtime", "LastModified", "updated", "created")
    return str(next((info[name] for name in names if info.get(name)), ""))


def _update(system: Any, folder: Path, there: dict[str, tuple[str, list[Any]]], prefix: str) -> None:  # noqa: ANN401
    """Make *folder* hold what is *there*, as far as names begin with *prefix*."""
    index = folder / _INDEX
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(index.read_text("utf-8"))
    for name in [name for name in known if name not in there and name.rpartition("/")[2].startswith(prefix)]:
        folder.joinpath(name).unlink(missing_ok=True)
        del known[name]
    for name, (path, stamp) in there.items():
        target = folder / name
        if known.get(name) != stamp or not target.exists():
            _download(system, path, target)
            known[name] = stamp
            _replace(index, json.dumps(known).encode())


def _download(system: Any, path: str, target: Path) -> None:  # noqa: ANN401  # fsspec has no types
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        whole = Path(folder, "whole")
        system.get_file(path, str(whole))
        whole.replace(target)


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


class Outbox:
    """A folder of this machine for what is recorded, and the sending of its finished parts to *url*.

    Raises UsageError for a URL that cannot be written to.
    """

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        self.url = url
        self._system, self._root = _system(url)
        self._run = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        home = _home(url)
        home.mkdir(parents=True, exist_ok=True)
        self._sent: dict[Path, int] = {}
        self._sending = threading.Lock()
        self._let_go: weakref.finalize[[int], Outbox] | None = None
        for left in sorted(home.glob(f"{_LEFT}*")):
            self._take_over(left, say)
        self.folder = home / f"{_LEFT}{self._run}"
        self.open()

    def open(self) -> None:
        """Take the folder for this process, if it is not taken: again after :meth:`close`."""
        if self._let_go is not None and self._let_go.alive:
            return
        self.folder.mkdir(exist_ok=True)
        descriptor = _hold(self.folder)
        self._let_go = weakref.finalize(self, os.close, descriptor)
        self.folder.joinpath(_SENT).unlink(missing_ok=True)

    def _take_over(self, folder: Path, say: Callable[[str], None]) -> None:
        """Send what a process left that is no more."""
        try:
            lock = _hold(folder, wait=False)
        except OSError:  # its process lives, or another one is doing this
            return
        try:
            for path in sorted(folder.glob("*.yaml")) if not folder.joinpath(_SENT).exists() else ():
                repair(path)
                self._put(path, folder.name.removeprefix(_LEFT))
                say(f"{self.url}: {path.name}, which an earlier process had not sent, was sent")
            shutil.rmtree(folder)
        finally:
            os.close(lock)

    def run(self, ended: threading.Event, finish_parts: Callable[[], None]) -> None:
        """Send what is new twice a minute, until *ended*; *finish_parts* lets the next answers begin new files."""
        while not ended.wait(_SEND_SECONDS):
            finish_parts()
            with suppress(CassetteError):  # it is tried again, and at the end it is an error
                self.send()

    def send(self) -> None:
        """Send every file that was not sent yet as it is now. Raises CassetteError; what was not sent stays here."""
        with self._sending:
            for path in sorted(self.folder.glob("*.yaml")):
                size = path.stat().st_size
                if size and self._sent.get(path) != size:
                    self._put(path, self._run)
                    self._sent[path] = size

    def _put(self, path: Path, run: str) -> None:
        target = f"{self._root}/{path.stem}-{run}{path.suffix}"
        try:
            self._system.makedirs(self._root, exist_ok=True)
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # an answer that is just being written belongs to it
                self._system.put_file(str(path), target)
        except Exception as error:  # each file system has errors of its own
            cause = f"{path} could not be sent, and stays there: {type(error).__name__}: {error}"
            raise CassetteError(self.url, cause) from error

    def close(self) -> None:
        """Send the rest; then the folder is not needed any more, and the next process removes it."""
        self.send()
        self.folder.joinpath(_SENT).touch()
        if self._let_go is not None:
            self._let_go()


def _hold(folder: Path, *, wait: bool = True) -> int:
    """Lock *folder* for this process. Raises OSError when another one has it and is not waited for."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
