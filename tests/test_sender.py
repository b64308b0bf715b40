"""Scripts that are performed: every byte in its order, whoever waits for what, and nobody waits for somebody else."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from raw import PATIENCE, eventually

from stubserver import sender as module
from stubserver.messages import Delivery, Step
from stubserver.sender import Sender


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender()
    yield sender
    sender.end()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection over TCP, as pairs of sockets do not tell of half an end: ours, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.settimeout(PATIENCE)
        ours, _ = listener.accept()
        with ours:
            yield ours, client


Connected = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Connected]:
    with connected() as pair:
        yield pair


def script(steps: Iterable[Step]) -> Generator[Step]:
    yield from steps


def run(  # what a script is sent by
    sender: Sender,
    sock: socket.socket,
    steps: Generator[Step],
    delivery: Delivery,
    patience: float = PATIENCE,
    *,
    blocks: bool = False,
) -> str:
    """Send a script and wait for its end, whichever way."""
    if blocks:
        return sender.perform(sock, steps, delivery, patience)
    outcome: SimpleQueue[tuple[str, BaseException | None]] = SimpleQueue()
    if not sender.begin(sock, steps, delivery, patience, lambda *how: outcome.put(how)):
        raise ConnectionAbortedError
    end, error = outcome.get(timeout=PATIENCE)
    steps.close()
    if error is not None:
        raise error
    return end


def perform(sender: Sender, sock: socket.socket, *steps: Step) -> tuple[str, Delivery]:
    delivery = Delivery()
    return run(sender, sock, script(steps), delivery), delivery


def read_to_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def test_steps_are_sent_in_order_and_noted(sender: Sender, pair: Connected) -> None:
    end, delivery = perform(sender, pair[0], Step(0.01, b"a"), Step(0, b"b"), Step(0.01), Step(0.01, b"c"))
    assert (end, exactly(pair[1], 3)) == ("", b"abc")
    assert delivery.times is not None
    assert len(delivery.times) == 3
    assert delivery.first == delivery.times[0] <= delivery.times[1] <= delivery.times[2] == delivery.last


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("steps", [(), (Step(0.01),)])
def test_what_sends_nothing_is_over_too(sender: Sender, pair: Connected, steps: tuple[Step], *, blocks: bool) -> None:
    delivery = Delivery()
    assert run(sender, pair[0], script(steps), delivery, PATIENCE, blocks=blocks) == ""
    assert (delivery.first, delivery.times) == (0.0, None)
    assert delivery.last


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("blocks", [False, True])
def test_an_end_in_the_script_ends_it(sender: Sender, pair: Connected, end: str, *, blocks: bool) -> None:
    delivery, closed = Delivery(), []

    def steps() -> Generator[Step]:
        try:
            yield Step(0, b"a")
            yield Step(0, b"b", "close" if end == "close" else "reset")
            yield Step(0, b"never")
        finally:
            closed.append(True)

    assert run(sender, pair[0], steps(), delivery, PATIENCE, blocks=blocks) == end
    assert (exactly(pair[1], 2), delivery.last, closed) == (b"ab", 0.0, [True])


def test_many_go_at_the_same_time_each_in_its_order(sender: Sender, pool: ThreadPoolExecutor) -> None:
    def one(number: int) -> bool:
        with connected() as (ours, client):
            perform(sender, ours, *(Step(0.001 * (number % 3), b"%d,%d;" % (number, at)) for at in range(50)))
            ours.shutdown(socket.SHUT_WR)
            return read_to_end(client) == b"".join(b"%d,%d;" % (number, at) for at in range(50))

    assert all(pool.map(one, range(40)))
    assert [thread.name for thread in threading.enumerate()].count(Sender.name) == 1


class Sends:
    """A socket that takes down what it is given at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.given: list[bytes] = []
        self.fileno = sock.fileno

    def send(self, data: bytes, flags: int) -> int:
        assert flags == socket.MSG_DONTWAIT
        self.given.append(bytes(data))
        return len(data)


def sent(sender: Sender, sock: socket.socket, *steps: Step) -> tuple[list[bytes], Delivery]:
    noted, delivery = Sends(sock), Delivery()
    run(sender, noted, script(steps), delivery)  # type: ignore[arg-type]
    return noted.given, delivery


def test_late_steps_go_out_together_and_are_noted_one_by_one(sender: Sender, pair: Connected) -> None:
    late = [Step(-1.0, b"%d" % number) for number in range(5)]
    given, delivery = sent(sender, pair[0], *late, Step(0.001, b"in time"), Step(-1.0, b"x"), Step(-1.0, b"y", "close"))
    assert given == [b"01234", b"in time", b"x", b"y"]
    assert delivery.times is not None
    assert len(delivery.times) == 8


def test_steps_without_a_delay_are_sent_one_by_one(sender: Sender, pair: Connected) -> None:
    given, _ = sent(sender, pair[0], *(Step(0.0, b"%d" % number) for number in range(300)))
    assert given == [b"%d" % number for number in range(300)]


def test_late_ones_before_a_mistake_are_sent(sender: Sender, pair: Connected) -> None:
    def steps() -> Generator[Step]:
        yield Step(-1.0, b"a")
        yield Step(-1.0, b"b")
        raise KeyError

    with pytest.raises(KeyError):
        run(sender, pair[0], steps(), Delivery(), PATIENCE)
    assert exactly(pair[1], 2) == b"ab"


def test_a_mistake_in_one_script_is_its_own(sender: Sender, pair: Connected, pool: ThreadPoolExecutor) -> None:
    def broken() -> Generator[Step]:
        yield Step(0.01, b"a")
        msg = "broken"
        raise ValueError(msg)

    with connected() as (ours, client):
        other = pool.submit(perform, sender, ours, *[Step(0.01, b"b")] * 20)
        with pytest.raises(ValueError, match="broken"):
            run(sender, pair[0], broken(), Delivery(), PATIENCE)
        assert exactly(client, 20) == b"b" * 20
        assert other.result(PATIENCE)[0] == ""


def waits(sender: Sender, number: int) -> Callable[[], bool]:
    return lambda: number in sender._shows


def held_up(sender: Sender, sock: socket.socket) -> Callable[[], bool]:
    """Tell whether a client has not read what was sent to it."""
    return lambda: (show := sender._shows.get(sock.fileno())) is not None and show.rest is not None


def test_a_client_that_does_not_read_holds_nobody_up(sender: Sender, pair: Connected, pool: ThreadPoolExecutor) -> None:
    large = bytes(range(256)) * 100_000
    slow = pool.submit(perform, sender, pair[0], Step(0, large), Step(0.01, b"the rest"))
    assert eventually(held_up(sender, pair[0]))
    with connected() as (ours, client):
        assert perform(sender, ours, *[Step(0.01, b"b")] * 5)[0] == ""
        assert exactly(client, 5) == b"b" * 5
    assert not slow.done()
    assert exactly(pair[1], len(large) + 8) == large + b"the rest"
    end, delivery = slow.result(PATIENCE)
    assert (end, len(delivery.times or ())) == ("", 2)


def test_a_client_that_never_reads_is_given_up(
    sender: Sender, pair: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOWEST", 10**12)
    delivery = Delivery()
    with pytest.raises(TimeoutError):
        run(sender, pair[0], script([Step(0, b"x" * 50_000_000), Step(0, b"never")]), delivery, 0.01)
    assert (delivery.first, delivery.last, sender._shows) == (0.0, 0.0, {})


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_client_that_is_gone_is_noticed_in_a_pause(sender: Sender, pair: Connected, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(perform, sender, pair[0], Step(3600, b"never"))
    assert eventually(waits(sender, pair[0].fileno()))
    reset(pair[1])
    with pytest.raises(ConnectionResetError):
        waiting.result(PATIENCE)


def test_a_client_that_leaves_with_something_to_read_is_noticed(
    sender: Sender, pair: Connected, pool: ThreadPoolExecutor
) -> None:
    waiting = pool.submit(perform, sender, pair[0], Step(0, b"x" * 50_000_000))
    assert eventually(held_up(sender, pair[0]))
    reset(pair[1])
    with pytest.raises(OSError, match=r"reset|pipe"):
        waiting.result(PATIENCE)


def test_half_an_end_is_an_end_only_where_it_is_said(sender: Sender, pair: Connected, pool: ThreadPoolExecutor) -> None:
    pair[1].shutdown(socket.SHUT_WR)
    assert perform(sender, pair[0], Step(0.05, b"listens"))[0] == ""
    assert exactly(pair[1], 7) == b"listens"
    with pytest.raises(ConnectionResetError):
        pool.submit(perform, sender, pair[0], Step(3600, b"never", leaves=True)).result(PATIENCE)


def test_our_own_end_of_the_connection_ends_a_pause(sender: Sender, pair: Connected, pool: ThreadPoolExecutor) -> None:
    waiting = pool.submit(perform, sender, pair[0], Step(3600, b"never"))
    assert eventually(waits(sender, pair[0].fileno()))
    pair[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionResetError):
        waiting.result(PATIENCE)


def test_the_end_lets_everybody_go(sender: Sender, pool: ThreadPoolExecutor) -> None:
    with connected() as (one, _), connected() as (other, _):
        waiting: list[Future[tuple[str, Delivery]]] = [
            pool.submit(perform, sender, one, Step(3600, b"never")),
            pool.submit(perform, sender, other, Step(0, b"x" * 50_000_000)),
        ]
        assert eventually(lambda: waits(sender, one.fileno())() and held_up(sender, other)())
        sender.end()
        for each in waiting:
            with pytest.raises(ConnectionAbortedError):
                each.result(PATIENCE)
        with pytest.raises(ConnectionAbortedError):
            perform(sender, one, Step(0, b"never"))


def test_a_closed_socket_is_no_ones(sender: Sender) -> None:
    with connected() as (ours, _):
        ours.close()
        with pytest.raises(ConnectionAbortedError):
            perform(sender, ours, Step(0, b"never"))


def test_what_ended_long_before_its_time_is_not_kept(
    sender: Sender, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that leave at once, each of an answer that would have come in an hour."""
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    for _ in range(20):
        with connected() as (ours, client):
            waiting = pool.submit(perform, sender, ours, Step(3600, b"never"))
            assert eventually(waits(sender, ours.fileno()))
            reset(client)
            with pytest.raises(ConnectionResetError):
                waiting.result(PATIENCE)
    assert eventually(lambda: len(sender._due) <= 5)


def test_a_script_that_blocks_is_worked_out_by_who_asked(sender: Sender, pair: Connected) -> None:
    threads = []

    def steps() -> Generator[Step]:
        for number in range(3):
            threads.append(threading.current_thread())
            yield Step(0, b"%d" % number)

    before = time.perf_counter()
    delivery = Delivery()
    assert run(sender, pair[0], steps(), delivery, PATIENCE, blocks=True) == ""
    assert exactly(pair[1], 3) == b"012"
    assert set(threads) == {threading.current_thread()}
    assert before <= delivery.first <= delivery.last
