"""Sockets to listen on for several processes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thor.tcp import worker_sockets
from thor.tcp.listening import open_beside
from thor.tcp.worker_sockets import WorkerSockets

balanced = pytest.mark.skipif(
    not worker_sockets.REUSEPORT_BALANCES, reason="the kernel spreads nothing over sockets"
)


@pytest.fixture
def make() -> Iterator[Callable[[int], WorkerSockets]]:
    """`make(count)`; what is made is closed when the test ends."""
    made: list[WorkerSockets] = []

    def make(count: int) -> WorkerSockets:
        made.append(WorkerSockets(count))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def taken() -> Iterator[Callable[[WorkerSockets, int], list[socket.socket]]]:
    """`taken(slots, number)`: what the process of a slot has, closed when the test ends."""
    sockets: list[socket.socket] = []

    def take(those: WorkerSockets, number: int) -> list[socket.socket]:
        found = those.take(number)
        sockets.extend(found)
        return found

    yield take
    for sock in sockets:
        sock.close()


def accept_all(sock: socket.socket) -> int:
    """How many connections wait for a socket, which are then closed."""
    count = 0
    while True:
        try:
            conn, _ = sock.accept()
        except BlockingIOError:
            return count
        conn.close()
        count += 1


@balanced
def test_connections_are_spread_over_the_slots_of_a_port(make: Any) -> None:
    two = make(2)
    address = two.open("127.0.0.1", 0)
    assert two.addresses == [address]
    clients = [socket.create_connection(address, 10) for _ in range(400)]
    counts = [accept_all(sock) for (row,) in [two._rows] for sock in row]
    for client in clients:
        client.close()
    assert sum(counts) == 400
    assert all(140 <= count <= 260 for count in counts)


def test_process_of_a_slot_has_its_sockets_and_no_others(make: Any, taken: Any) -> None:
    three = make(3)
    first, second = three.open("127.0.0.1", 0), three.open("127.0.0.1", 0)
    rows = [list(row) for row in three._rows]
    mine = taken(three, 2)
    assert mine == [row[1] for row in rows]
    assert [sock.getsockname() for sock in mine] == [first, second]
    three.close()
    assert all(sock.fileno() >= 0 for sock in mine)
    if worker_sockets.REUSEPORT_BALANCES:
        assert {sock.fileno() for row in rows for sock in row if sock not in mine} == {-1}


def test_port_that_is_in_use_by_such_sockets_is_in_use(make: Any) -> None:
    address = make(2).open("127.0.0.1", 0)
    for count in (1, 2):
        with pytest.raises(OSError, match="in use") as caught:
            make(count).open(*address)
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_every_interface_has_both_families_in_each_slot(make: Any, taken: Any) -> None:
    two = make(2)
    address = two.open("", 0)
    v4, v6 = taken(two, 2)
    assert (v4.family, v6.family) == (socket.AF_INET, socket.AF_INET6)
    assert v4.getsockname() == address
    assert v6.getsockname()[1] == address[1]
    assert v6.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    assert two.addresses == [address]


def test_unix_socket_is_the_same_in_all_slots(make: Any, taken: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    two = make(2)
    assert two.open(f"unix:{path}", 0, mode=0o600) == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    [row] = two._rows
    assert row[0] is row[1]
    [mine] = taken(two, 2)
    assert mine is row[0]
    assert mine.fileno() >= 0
    assert path.exists()
    two.close()
    assert not path.exists()


def test_socket_s_file_is_removed_by_the_process_that_made_it(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    two = make(2)
    two.open(f"unix:{path}", 0)
    pid = os.fork()
    if not pid:
        two.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert path.exists()


def test_inherited_socket_is_the_same_in_all_slots(make: Any, taken: Any) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    two = make(2)
    assert two.share(sock) == sock.getsockname()
    socket.create_connection(sock.getsockname(), 10).close()
    assert taken(two, 1) == [sock]
    assert accept_all(sock) == 1


def test_only_stream_sockets_are_shared(make: Any) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="stream"):
        make(2).share(sock)


def test_where_the_kernel_spreads_nothing_all_slots_have_the_same(
    make: Any, taken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_sockets, "REUSEPORT_BALANCES", False)
    two = make(2)
    two.open("127.0.0.1", 0)
    [row] = two._rows
    assert taken(two, 2) == [row[0]]
    assert row[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


@balanced
def test_all_are_closed_where_one_cannot_be_opened(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[socket.socket] = []
    real = open_beside

    def beside(sock: socket.socket, backlog: int) -> socket.socket:
        opened.append(sock)
        if len(opened) > 1:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(real(sock, backlog))
        return opened[-1]

    monkeypatch.setattr(worker_sockets, "open_beside", beside)
    three = make(3)
    opened.clear()
    with pytest.raises(OSError, match="Too many"):
        three.open("127.0.0.1", 0)
    assert {sock.fileno() for sock in opened} == {-1}
    assert three.addresses == []


@balanced
def test_what_waits_for_a_slot_is_there_for_the_next_process(make: Any, taken: Any) -> None:
    two = make(2)
    address = two.open("127.0.0.1", 0)
    [row] = [list(row) for row in two._rows]
    # What a process in the slot has are copies.
    copy = row[0].dup()
    clients = [socket.create_connection(address, 10) for _ in range(50)]
    copy.close()
    assert accept_all(row[0]) + accept_all(row[1]) == 50
    for client in clients:
        client.close()


def test_there_is_one_slot_or_more() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        WorkerSockets(0)
