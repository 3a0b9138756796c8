"""The remote side that a test plays: in memory and over the loopback interface, TCP and TLS."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tcp_support import memory_socket
from tls_support import NAME, serving, trusting

from thor.loop import LoopBase, make
from thor.testing import MemorySocket, Peer, Playbook, Recorder, connection_pair, memory_loop
from thor.testing.memory import BUFFER_BYTES

Pair = tuple[Peer, Peer]

KINDS = [(where, tls) for where in ("memory", "sockets") for tls in (False, True)]


def name_of(kind: tuple[str, bool]) -> str:
    return f"{kind[0]}-{'tls' if kind[1] else 'tcp'}"


@pytest.fixture(params=KINDS, ids=name_of)
def make_pair(request: pytest.FixtureRequest) -> Iterator[Callable[[], Pair]]:
    """`make_pair()`: two peers, a client and a server, each the remote side of the other."""
    where, tls = request.param
    loop = memory_loop() if where == "memory" else make()
    made: list[Peer] = []

    def pair() -> Pair:
        ours, theirs = connection_pair(loop) if where == "memory" else socket_pair()
        server = Peer(loop, theirs, tls=serving() if tls else None)
        client = Peer(
            loop, ours, tls=trusting() if tls else None, server_hostname=NAME if tls else None
        )
        made.extend((client, server))
        return client, server

    yield pair
    for peer in made:
        peer.abort()
    assert not loop.registered_fd_handlers()
    loop.stop()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        return ours, listening.accept()[0]


@pytest.fixture
def pair(make_pair: Callable[[], Pair]) -> Pair:
    return make_pair()


def test_peer_receives_what_the_other_side_sends(pair: Pair) -> None:
    client, server = pair
    client.send(b"ques", b"tion")
    server.expect(b"question").send(b"answer")
    client.expect(b"answer")
    assert (client.take(), server.take()) == (b"", b"")


def test_peer_receives_megabytes_in_order(pair: Pair) -> None:
    client, server = pair
    data = bytes(range(256)) * 8000
    client.send(data).end()
    server.expect(data).expect_end()


def test_peer_reads_on_after_its_own_end(pair: Pair) -> None:
    client, server = pair
    client.send(b"all").end()
    server.expect(b"all").expect_end()
    assert not client.is_closed
    server.send(b"more").end()
    client.expect(b"more").expect_end()
    assert client.is_ended
    assert not client.is_reset


def test_peer_sees_a_reset_after_the_data_before_it(pair: Pair) -> None:
    client, server = pair
    client.send(b"last words")
    server.expect(b"last words")
    client.abort()
    server.expect_reset()
    assert server.is_closed
    assert not server.is_ended


def test_peer_emits_data_end_and_close(pair: Pair) -> None:
    client, server = pair
    heard = Recorder(server, "data", "end", "close")
    client.send(b"a").end()
    server.expect(b"a").expect_end().end()
    assert heard.take() == [("data", b"a"), ("end",), ("close",)]
    assert server.sock.fileno() == -1


def test_peer_drops_what_is_sent_after_a_reset(pair: Pair) -> None:
    client, server = pair
    server.abort()
    client.expect_reset()
    assert client.send(b"too late").end().pause().pause(False).abort().take() == b""


def test_peer_expect_fails_with_a_diff(pair: Pair) -> None:
    client, server = pair
    client.send(b"HTTP/1.1 200 OK\r\nA: c\r\n\r\n")
    with pytest.raises(AssertionError) as failure:
        server.expect(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    shown = str(failure.value).splitlines()
    assert r"  b'HTTP/1.1 200 OK\r\n'" in shown
    assert r"- b'A: b\r\n'" in shown
    assert r"+ b'A: c\r\n'" in shown


def test_peer_expect_end_fails_when_bytes_were_not_taken(pair: Pair) -> None:
    client, server = pair
    client.send(b"more").end()
    with pytest.raises(AssertionError, match=r"expected an end.* not taken: b'more'"):
        server.expect_end()
    with pytest.raises(AssertionError, match="expected a reset; the connection is ended"):
        server.expect_reset()


def test_peer_conversation_over_real_and_memory_loops(pair: Pair) -> None:
    client, server = pair
    play = Playbook(client._loop).peer("client", client).peer("server", server)
    play.send("client", b"question").expect(("server", "data", b"question"))
    play.send("server", b"answer").expect(("client", "data", b"answer"))
    play.finish("client").expect(("server", "end"))
    play.abort("client").expect(("server", "close"))


# -- what TLS adds ------------------------------------------------------------------------------


def test_peer_takes_a_fin_without_close_notify_for_a_reset() -> None:
    loop = memory_loop()
    ours, theirs = connection_pair(loop)
    server = Peer(loop, theirs, tls=serving())
    client = Peer(loop, ours, tls=trusting(), server_hostname=NAME).send(b"data")
    server.expect(b"data").take()
    client.close()
    server.expect_reset()
    assert not server.is_ended


def test_peer_ends_a_connection_whose_handshake_fails() -> None:
    loop = memory_loop()
    ours, theirs = connection_pair(loop)
    server = Peer(loop, theirs, tls=serving())
    Peer(loop, ours).send(b"GET / HTTP/1.1\r\n\r\n")
    server.expect_reset()


# -- memory -------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> tuple[LoopBase, MemorySocket, Peer]:
    """A loop, a socket, and the peer of that socket."""
    loop = memory_loop()
    ours, theirs = connection_pair(loop)
    ours.unregister_fd()
    return loop, memory_socket(ours), Peer(loop, theirs)


def test_paused_peer_in_memory_lets_no_byte_arrive(
    memory: tuple[LoopBase, MemorySocket, Peer],
) -> None:
    _, sock, peer = memory
    peer.pause()
    with pytest.raises(BlockingIOError):
        sock.send(b"1234")
    assert peer.pause(False).take() == b""
    assert sock.send(b"x" * 2 * BUFFER_BYTES) == BUFFER_BYTES


def test_paused_peer_in_memory_reads_as_much_as_it_is_told() -> None:
    loop = memory_loop()
    ours, theirs = connection_pair(loop)
    writer, peer = Peer(loop, ours), Peer(loop, theirs).pause()
    writer.send(b"123456")
    assert peer.take() == b""
    assert peer.read(3).take() == b"123"
    assert peer.pause(False).take() == b"456"


def test_paused_peer_in_memory_sees_a_reset(memory: tuple[LoopBase, MemorySocket, Peer]) -> None:
    peer = memory[2]
    peer.pause()
    peer.sock.reset()  # type: ignore[union-attr]
    peer.expect_reset()


def test_paused_peer_over_sockets_reads_what_a_kernel_keeps(
    make_loop: Callable[..., LoopBase],
) -> None:
    loop = make_loop()
    ours, theirs = socket_pair()
    writer, peer = Peer(loop, ours), Peer(loop, theirs).pause()
    writer.send(b"123456").end()
    loop.run_once()
    assert peer.take() == b""
    assert peer.read(3).take() == b"123"
    peer.pause(False).expect(b"456").expect_end()
    peer.abort()
    writer.abort()


def test_peer_closes_when_everything_is_sent(
    memory: tuple[LoopBase, MemorySocket, Peer],
) -> None:
    _, sock, peer = memory
    sock.buffer_bytes = 3
    peer.send(b"12345").close()
    assert sock.recv(9) == b"123"
    peer.take()
    assert (sock.recv(9), sock.recv(9)) == (b"45", b"")


def test_peer_may_be_used_inside_a_callback(
    memory: tuple[LoopBase, MemorySocket, Peer],
) -> None:
    loop, sock, peer = memory
    loop.schedule(0, partial(peer.send, b"inside"))
    loop.run_once()
    assert sock.recv(9) == b"inside"


def test_peer_reads_what_arrived_before_a_failed_send(
    memory: tuple[LoopBase, MemorySocket, Peer],
) -> None:
    _, sock, peer = memory
    peer.sock.fail("send", OSError(errno.ECONNRESET, "reset"))  # type: ignore[union-attr]
    sock.send(b"last")
    peer.send(b"x")
    assert (peer.take(), peer.is_reset) == (b"last", True)


def test_peer_sees_a_reset_behind_an_end(
    memory: tuple[LoopBase, MemorySocket, Peer],
) -> None:
    _, sock, peer = memory
    sock.shutdown(socket.SHUT_WR)
    assert peer.take() == b""
    assert peer.is_ended
    assert not peer.is_reset
    peer.sock.reset()  # type: ignore[union-attr]
    peer.expect_reset()
