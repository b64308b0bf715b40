"""Many cassettes as one: the files below some paths, read once, watched, and read again when they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from stubserver.canonical import Rules
from stubserver.cassettes.playlist import OnExhausted, Playlist, clean_secrets
from stubserver.cassettes.positions import Positions
from stubserver.cassettes.recordings import CassetteFile, Recording, Reel, Stamp, recording_of, stamp_of
from stubserver.cassettes.routes import normal_route
from stubserver.errors import CassetteError, NotACassetteError, UsageError
from stubserver.messages import Interaction, Request

if TYPE_CHECKING:
    from stubserver.cassettes.index import Index
    from stubserver.cassettes.tablefile import TableFile

__all__ = ["ENDINGS", "Library", "Report", "found", "name_of", "rank_name"]

ENDINGS: Final = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")

_KEPT_BYTES: Final = 128 * 1024 * 1024
"""So much text of cassettes is kept in memory; what is beyond is read from the disk when it is played."""
_DENSE: Final = 8  # so many times as large is about what is in a packed file
_LONGEST_TAIL: Final = len("version: 1\r\n")


@dataclass(slots=True, eq=False)
class Report:
    """What a (re)load found: ``errors`` are damaged files and items, ``warnings`` what was passed over."""

    errors: list[CassetteError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Library:
    """The cassettes below *paths*, files or folders; with *to_come*, they need not be there yet.

    *only* is how the names of the files in a folder must begin.
    *index* is the path of the index, used from so many bytes of cassettes on: *index_above*.
    """

    def __init__(  # noqa: PLR0913  # the options of the command line
        self,
        paths: Iterable[str | os.PathLike[str]],
        rules: Rules | None = None,
        *,
        on_exhausted: OnExhausted | str = OnExhausted.LAST,
        drift: bool = False,
        to_come: bool = False,
        only: str = "",
        scrub: Callable[[Request], Request] = clean_secrets,
        index: Path | None = None,
        index_above: int = 0,
    ) -> None:
        self.rules = rules or Rules()
        self._policy = OnExhausted(on_exhausted)
        self._drift = drift
        self._only = only
        self._scrub = scrub
        self._paths = [Path(path) for path in paths]
        for path in self._paths:
            if not path.exists() and not to_come:
                msg = f"{path}: no such file or folder; give a cassette (.yaml, .yml, .json, each also .gz) or a folder"
                raise UsageError(msg)
        # Keyed by text: looking for changes comes often, and makes no Path of what did not change.
        self._files: dict[str, CassetteFile] = {}
        self._seen: dict[str, Stamp | None] = {}
        self._by_name: dict[str, CassetteFile] = {}
        self._named: dict[str, Playlist] = {}
        self._lock = Lock()
        self._reloading = Lock()
        self._positions = Positions()
        self._index_path, self._index_above = index, index_above
        self._index: Index | None = None
        self._tables: TableFile | None = None
        self.notes: list[str] = []
        self._all = self._playlist(())
        self.report = self._load()

    def _playlist(self, reels: Iterable[Reel], name: str = "") -> Playlist:
        return Playlist(
            reels,
            self.rules,
            self._policy,
            drift=self._drift,
            scrub=self._scrub,
            positions=self._positions,
            salt=int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()) if name else 0,
        )

    @property
    def watched(self) -> bool:
        """Whether there are files that may change."""
        return bool(self._paths)

    @property
    def files(self) -> list[CassetteFile]:
        """The cassettes that are served, in order."""
        return list(self._files.values())

    @property
    def playlist(self) -> Playlist:
        """All recordings of all cassettes."""
        return self._all

    @property
    def names(self) -> list[str]:
        """The names of the cassettes, as ``/__cassette/<name>/`` takes them."""
        return [file.name for file in self.files]

    def named(self, target: str) -> tuple[Playlist, str] | None:
        """Find the cassette whose name begins *target* (``name/v1/...``): its own playlist, and the rest of it.

        A client may have percent-encoded the name. Of several cassettes with one name it is the first.
        """
        parts = target.split("/")
        for length in range(len(parts), 0, -1):
            name = "/".join(parts[:length])
            found = self._playlist_of(name) or self._playlist_of(unquote(name))
            if found is not None:
                return found, "/" + "/".join(parts[length:])
        return None

    def _playlist_of(self, name: str) -> Playlist | None:
        with self._lock:
            if name not in self._by_name:
                return None
            playlist = self._named.get(name)
            if playlist is None:
                playlist = self._named[name] = self._playlist([self._by_name[name].recordings], name)
            return playlist

    def played(self, recording: Recording) -> int:
        """Return how often *recording* was played, by itself and under the name of its cassette."""
        file = recording.file
        with self._lock:
            named = self._named.get(file.name) if self._by_name.get(file.name) is file else None
        return self._all.played(recording) + (named.played(recording) if named is not None else 0)

    def share(self, positions: Positions) -> None:
        """Count in *positions* from now on, which other processes do, too; before anything was played."""
        self._positions = positions
        for playlist in (self._all, *self._named.values()):
            playlist.share(positions)

    def reset(self) -> None:
        """Forget what was played, everywhere."""
        with self._positions.lock:
            self._positions.clear()

    def changed(self) -> bool:
        """Tell whether a file was added, taken away or changed since it was read."""
        return {place: _stamp(place) for place, _ in found(self._paths, self._only)} != self._seen

    def reload(self) -> Report:
        """Read again what changed; a file that is now damaged keeps being served as it was."""
        with self._reloading:
            return self._load()

    def add(self, path: Path, offset: int, item: bytes, interaction: Interaction) -> str:
        """Take in what was just written to *path*; return its label. It counts as played: its answer was given."""
        with self._reloading:
            file = self._files.get(str(path)) or self._new_file(path)
            number, request = len(file.recordings) + 1, interaction.request
            normal = normal_route(request, self.rules)
            reel = file.recordings
            recording = recording_of(
                file, number, request, self.rules, normal=lambda *_: normal, offset=offset, raw=item
            )
            if reel and offset != reel[-1].offset + reel[-1].length:
                return recording.label  # another one was written in between: the next look reads the file again
            reel.append(recording)
            stamp = _stamp(str(path))
            if stamp and stamp[0] - offset - len(item) <= _LONGEST_TAIL:  # else more was written behind it by now
                file.stamp = stamp
                self._seen = {**self._seen, str(path): stamp}
            self._all.add(reel)
            with self._lock:
                named = self._named.get(file.name) if self._by_name.get(file.name) is file else None
            if named is not None:
                named.add(reel)
        return recording.label

    def _new_file(self, path: Path) -> CassetteFile:
        root = next((p for p in self._paths if p.is_dir() and path.is_relative_to(p)), path.parent)
        file = CassetteFile(path, self._label(path, root), name_of(path.relative_to(root).as_posix()), (0, 0, 0))
        self._files = {**self._files, str(path): file}
        with self._lock:
            self._by_name = {file.name: file, **self._by_name}
        return file

    def _label(self, path: Path, root: Path) -> str:
        return os.path.relpath(path, root.parent) if root in self._paths else str(path)

    def _load(self) -> Report:
        report, kept = Report(), 0
        files: dict[str, CassetteFile] = {}
        roots = dict(found(self._paths, self._only))
        # Before they are read: what changes now is seen by the next look.
        seen = {place: _stamp(place) for place in roots}
        self._open_index(seen)
        for place, root in roots.items():
            file = self._files.get(place)
            if place not in self._seen or self._seen[place] != seen[place]:
                file = self._read(Path(place), root, _KEPT_BYTES - kept, report, file)
            if file is not None:
                files[place] = file
                kept += len(file.text or b"")
        self._seen = seen
        if files != self._files:
            self._files = files
            self._renew()
        if self._tables is not None:  # from now on, a change is taken in as it comes: writing them takes a while
            self._tables.keep(self._all.reels, self._all.tables)
            self._tables = None
        return report

    def _read(
        self, path: Path, root: Path, room: int, report: Report, before: CassetteFile | None
    ) -> CassetteFile | None:
        """Read a file that is new or changed; when it is damaged, go on with what was read of it *before*."""
        label = self._label(path, root)
        name = name_of(path.relative_to(root).as_posix())
        try:
            file = self._read_file(path, label, name, room)
        except NotACassetteError as error:
            report.warnings.append(f"{error.path}: not a cassette, skipped: {error.cause}")
            return before
        except CassetteError as error:
            report.errors.append(error)
            return before
        report.errors += file.problems
        if before is not None and _worse(file, before):
            report.warnings.append(f"{label}: what was read of it before goes on being served")
            return before
        if file.skipped:
            report.warnings.append(f"{label}: {file.skipped} items are no HTTP interactions, skipped")
        return file

    def _read_file(self, path: Path, label: str, name: str, room: int) -> CassetteFile:
        if self._index is not None and self._index.usable:
            from stubserver.cassettes.indexing import load  # noqa: PLC0415  # start-up: only an index needs it

            file = self._tables.take(path, label, name) if self._tables is not None else None
            file = file or load(self._index, path, label, name, self.rules)
            if file is not None:
                return file
        from stubserver.cassettes.reader import read_file  # noqa: PLC0415  # start-up: not needed without cassettes

        return read_file(path, label, name, self.rules, keep_below=max(0, room))

    def _open_index(self, seen: dict[str, Stamp | None]) -> None:
        """Use the index, if there is one to be used for cassettes of this size."""
        size = sum(stamp[0] * (_DENSE if place.endswith(".gz") else 1) for place, stamp in seen.items() if stamp)
        if self._index is None and self._index_path is not None and size >= self._index_above and self._paths:
            from stubserver.cassettes.index import Index  # noqa: PLC0415  # start-up: importing sqlite3 takes a while
            from stubserver.cassettes.tablefile import TableFile  # noqa: PLC0415  # as above

            self._index = Index(self._index_path, self.rules, self.notes.append)
            if self._index.usable:
                self._tables = TableFile(self._index, self._paths, self._only, seen, self.notes.append)

    def tend(self) -> list[str]:
        """Write to the index what waits for it; return what there is to be told since the last time."""
        if self._index is not None:
            self._index.flush()
        notes, self.notes[:] = list(self.notes), []
        return notes

    def close(self) -> None:
        """Let go of the index."""
        if self._index is not None:
            self._index.flush()
            self._index.close()

    def _renew(self) -> None:
        files = self.files
        once = {file.stamp: file for file in reversed(files)}  # a file and the links to it
        reels = [file.recordings for file in files if once[file.stamp] is file]
        with self._positions.lock:
            self._positions.reserve(sum(map(len, reels)))
        self._all.renew(reels, self._tables.tables if self._tables is not None else None)
        by_name = {file.name: file for file in reversed(files)}
        with self._lock:
            self._by_name = by_name
            self._named = {name: old for name, old in self._named.items() if name in by_name}
            for name, playlist in self._named.items():
                playlist.renew([by_name[name].recordings])


def found(paths: Iterable[Path], only: str = "") -> Iterator[tuple[str, Path]]:
    """Yield each cassette file with the folder it was found in: in the order given, within a folder by name."""
    paths = list(paths)
    seen = set()
    for path in paths:
        is_folder = path.is_dir()
        for place in _below(path, only) if is_folder else [str(path)]:
            full = os.path.abspath(place) if len(paths) > 1 else place  # noqa: PTH100  # links stay apart
            if full not in seen and (is_folder or os.path.lexists(place)):
                seen.add(full)
                yield place, path if is_folder else path.parent


def rank_name(rank: int) -> str:
    """Return how the names of the files begin that a pipeline's *rank* records to."""
    return f"rank-{rank:05d}"


def name_of(relative: str) -> str:
    """Return the name of a cassette: its path without the ending."""
    name = relative.removesuffix(".gz")
    return name[: name.rindex(".")] if name.endswith((".yaml", ".yml", ".json")) else name


def _worse(file: CassetteFile, before: CassetteFile) -> bool:
    """Tell whether a file was damaged, or half written, since it was read *before*."""
    return bool(file.problems) and (not before.problems or len(file.recordings) < len(before.recordings))


def _below(folder: Path, prefix: str = "") -> list[str]:
    """List the files below *folder* that may be cassettes; hidden ones and those in hidden folders are left out."""
    found, folders = [], [str(folder)]
    while folders:
        # A folder that cannot be read, or is gone by now, holds nothing.
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(ENDINGS) and entry.name.startswith(prefix):
                    found.append(entry.path.removeprefix("./"))
    return sorted(found, key=lambda place: place.split("/"))


def _stamp(place: str) -> Stamp | None:
    try:
        return stamp_of(place)
    except OSError:
        return None
