"""Threads that are used again: every job runs once, and no thread stays behind."""

from __future__ import annotations

import errno
import gc
import threading
import weakref
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from raw import PATIENCE, eventually

from stubserver import threads as module
from stubserver.threads import Threads


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.end(PATIENCE)


def name_in(answers: SimpleQueue[int]) -> None:
    answers.put(threading.get_ident())


def test_free_thread_is_used_again(threads: Threads) -> None:
    answers: SimpleQueue[int] = SimpleQueue()
    for _ in range(5):
        threads.run(lambda: name_in(answers))
        assert eventually(lambda: threads._idle == 1)
    assert len({answers.get() for _ in range(5)}) == 1


def test_jobs_run_at_the_same_time(threads: Threads) -> None:
    together = threading.Barrier(20, timeout=PATIENCE)
    done: SimpleQueue[int] = SimpleQueue()
    for _ in range(20):
        threads.run(lambda: done.put(together.wait()))
    assert sorted(done.get(timeout=PATIENCE) for _ in range(20)) == list(range(20))
    assert len(threads._threads) == 20


def test_every_job_runs_once_whoever_gives_it(threads: Threads) -> None:
    done: SimpleQueue[int] = SimpleQueue()

    def give(start: int) -> None:
        for number in range(start, start + 500):
            threads.run(lambda number=number: done.put(number))

    givers = [threading.Thread(target=give, args=(start,)) for start in range(0, 2000, 500)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    assert sorted(done.get(timeout=PATIENCE) for _ in range(2000)) == list(range(2000))


def test_idle_threads_leave_after_a_while(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    together = threading.Barrier(10, timeout=PATIENCE)
    for _ in range(10):
        threads.run(together.wait)
    assert eventually(lambda: not threads._threads)
    assert threads._idle == 0


def test_thread_whose_first_job_another_one_took_leaves_too(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    threads._idle = 1  # as the other one counted itself before it took the job
    late = threading.Thread(target=threads._work)
    late.start()
    late.join(PATIENCE)
    assert not late.is_alive()
    assert threads._idle == 0


def test_more_than_are_needed_leave_at_once(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 3600.0)
    monkeypatch.setattr(module, "_MOST_IDLE", 8)
    together = threading.Barrier(50, timeout=PATIENCE)
    for _ in range(50):
        threads.run(together.wait)
    assert eventually(lambda: len(threads._threads) == threads._idle == 8)


def test_no_job_is_lost_to_a_thread_that_is_about_to_leave(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.0)
    done: SimpleQueue[int] = SimpleQueue()
    for number in range(3000):
        threads.run(lambda number=number: done.put(number))
    assert sorted(done.get(timeout=PATIENCE) for _ in range(3000)) == list(range(3000))


def test_job_given_in_the_moment_of_leaving_is_taken(threads: Threads) -> None:
    ran: list[bool] = []
    threads._jobs.put(lambda: ran.append(True))  # as run() does after it counted an idle thread away
    job = threads._leave()
    assert job is not None
    job()
    assert ran


def test_failing_job_takes_its_thread_along_and_nothing_else(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args.exc_type))
    threads.run(lambda: {}.pop("nothing"))
    assert eventually(lambda: failed and not threads._threads)
    answers: SimpleQueue[int] = SimpleQueue()
    threads.run(lambda: name_in(answers))
    assert answers.get(timeout=PATIENCE)
    assert failed == [KeyError]


def test_system_without_threads_is_an_error_that_can_be_answered(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="can't start") as caught:
        threads.run(lambda: None)
    assert caught.value.errno == errno.EAGAIN
    assert not threads._threads


class Thing:
    def use(self) -> None:
        pass


def test_job_is_let_go_when_it_is_done(threads: Threads) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    threads.run(thing.use)
    assert eventually(lambda: threads._idle == 1)
    del thing
    gc.collect()
    assert gone() is None


def test_end_takes_the_idle_ones_away() -> None:
    threads = Threads()
    together = threading.Barrier(10, timeout=PATIENCE)
    for _ in range(10):
        threads.run(together.wait)
    assert eventually(lambda: threads._idle == 10)
    threads.end(PATIENCE)
    assert not threads._threads


def test_end_waits_for_the_busy_ones_no_longer_than_it_is_told() -> None:
    threads, let = Threads(), threading.Event()
    threads.run(let.wait)
    threads.end(0.0)
    assert len(threads._threads) == 1
    let.set()
    assert eventually(lambda: not threads._threads)


def test_end_may_come_from_a_job() -> None:
    threads, done = Threads(), threading.Event()

    def end() -> None:
        threads.end(PATIENCE)
        done.set()

    threads.run(end)
    assert done.wait(PATIENCE)
    assert eventually(lambda: not threads._threads)


def test_end_twice_and_without_any_thread() -> None:
    threads = Threads()
    threads.end(PATIENCE)
    threads.end(PATIENCE)
    assert not threads._threads


def test_connection_threads_do_not_keep_the_process_alive(threads: Threads) -> None:
    answers: SimpleQueue[bool] = SimpleQueue()
    threads.run(lambda: answers.put(threading.current_thread().daemon))
    assert answers.get(timeout=PATIENCE)
