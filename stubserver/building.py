"""Build the index of many cassettes, in several processes: keys, places, and every answer as it will be sent."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from stubserver.canonical import Rules
from stubserver.cassettes.index import Index
from stubserver.cassettes.indexing import Work, do, left_to_do
from stubserver.cassettes.pieces import Piece
from stubserver.cassettes.recordings import stamp_of
from stubserver.errors import CassetteError, NotACassetteError
from stubserver.stored import seal

__all__ = ["Built", "Progress", "build"]

_AHEAD: Final = 3
"""So many pieces for each process are under way or wait to be written."""


class Progress(NamedTuple):
    """How far it is: *done* of *size* bytes."""

    done: int
    size: int


class Built(NamedTuple):
    """What was done: the files that had something new in them, their interactions, and what was found damaged."""

    files: int
    items: int
    problems: list[str]


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path.absolute())
        self.stamp = stamp_of(path)
        self.left = 0
        self.whole = False


def build(
    index: Index, paths: Iterable[Path], rules: Rules, jobs: int, progress: Callable[[Progress], None] = lambda _: None
) -> Built:
    """Bring *index* up to date with the files at *paths*; nothing is read again that it knows already."""
    problems: list[str] = []
    tasks = [task for path in paths for task in _tasks(index, path, problems)]
    size = sum(work.size for _, work in tasks)
    done = items = 0
    progress(Progress(0, size))
    for (file, work), piece in _all_done(tasks, rules, jobs, problems):
        if piece is not None:
            items += piece.items
            _put(index, file, piece)
        file.left -= 1
        if not file.left:
            index.finish(file.place)
        done += work.size
        progress(Progress(done, size))
    return Built(len({file.place for file, _ in tasks}), items, problems)


def _tasks(index: Index, path: Path, problems: list[str]) -> list[tuple[_File, Work]]:
    try:
        file = _File(path)
        works = left_to_do(index, path, file.place, file.stamp)
    except (CassetteError, OSError) as error:
        problems.append(f"{path}: {_cause(error)}")
        return []
    file.left = len(works)
    return [(file, work) for work in works]


def _put(index: Index, file: _File, piece: Piece) -> None:
    if file.whole:
        return  # what was read as a whole needs no more pieces
    if piece.start == 0:
        file.whole = True
        index.keep_only(file.place, file.stamp, ())
    if piece.items or file.whole:
        index.put(file.place, [piece])


def _all_done(
    tasks: list[tuple[_File, Work]], rules: Rules, jobs: int, problems: list[str]
) -> Iterator[tuple[tuple[_File, Work], Piece | None]]:
    """Yield what was read, in any order; a file that cannot be read is named in *problems*."""
    if jobs == 1 or len(tasks) == 1:
        for task in tasks:
            yield task, _read(task, lambda task=task: do(task[1], rules, seal), problems)  # type: ignore[misc]
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for task, future in _in_turn(pool, tasks, rules, jobs * _AHEAD):
            yield task, _read(task, future.result, problems)


def _in_turn(
    pool: Executor, tasks: list[tuple[_File, Work]], rules: Rules, most: int
) -> Iterator[tuple[tuple[_File, Work], Future[Piece]]]:
    """Give the pool a few tasks ahead, not all of them: what is read and not written yet takes memory."""
    waiting: dict[Future[Piece], tuple[_File, Work]] = {}
    left = iter(tasks)
    while True:
        for task in islice(left, most - len(waiting)):
            waiting[pool.submit(do, task[1], rules, seal)] = task
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future


def _read(task: tuple[_File, Work], read: Callable[[], Piece], problems: list[str]) -> Piece | None:
    try:
        piece = read()
    except NotACassetteError:
        return None
    except (CassetteError, OSError) as error:
        problems.append(f"{task[0].path}: {_cause(error)}")
        return None
    problems += [f"{task[0].path}, item {number}: {cause}" for number, cause in piece.problems]
    return piece


def _cause(error: CassetteError | OSError) -> str:
    return error.cause if isinstance(error, CassetteError) else error.strerror or str(error)
