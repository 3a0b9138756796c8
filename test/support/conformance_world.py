"""Where the conformance suite plays: real sockets of the loopback interface, or memory.

Owns: the two worlds, which are the same to a test, and the peers that it plays in them. Must not
know any case. Time is in the test's hands in both: the loop has a clock that only `advance` moves,
so that nothing waits; what a kernel needs to pass bytes on is waited for, with a limit.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from tcp_support import reset

from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.testing import ManualClock, MemoryNetwork, advance, settle
from thor.tls import TlsServer

#: How long is waited for what has to happen, in seconds.
LIMIT_S = 5.0
#: How many turns with nothing to do show that there is nothing to come.
QUIET_TURNS = 4
#: The same where Thor does not read, so that what peers send stays with them.
PATIENT_TURNS = 40
#: Bytes of a socket that the other side has not acknowledged (the kernel's SIOCOUTQ).
_SIOCOUTQ = 0x5411


class Peer(Protocol):
    """The other end of a connection of Thor's, played by the test.

    received: all that came; ended: Thor finished sending (FIN); lost: one side has reset the
    connection
    """

    received: bytes
    ended: bool
    lost: bool

    def send(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def reset(self) -> None: ...
    def stop_reading(self) -> None: ...
    def close(self) -> None: ...


class SocketPeer:
    """A raw socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = b""
        self.ended = self.lost = False
        self._out = bytearray()
        self._finishes = self._finished = self._deaf = False

    def send(self, data: bytes) -> None:
        self._out += data
        self.pump()

    def finish(self) -> None:
        self._finishes = True
        self.pump()

    def reset(self) -> None:
        self.lost = True
        reset(self.sock)

    def stop_reading(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._deaf = True

    def close(self) -> None:
        self.sock.close()

    def pump(self) -> bool:
        """Send and receive what can be. Returns: whether anything moved"""
        if self.sock.fileno() < 0:
            return False
        moved = self._send()
        while not (self._deaf or self.ended or self.lost):
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionError:
                self.lost = True
            else:
                self.received += data
                self.ended = not data
            moved = True
        if self.ended and not self.lost:  # a RST behind the FIN is not told by `recv`
            self.lost = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        return moved

    def _send(self) -> bool:
        moved = False
        try:
            while self._out:
                del self._out[: self.sock.send(self._out)]
                moved = True
            if self._finishes and not self._finished:
                self._finished = moved = True
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # Thor has ended the connection; what it said is still read
            self._out.clear()
        return moved

    def is_heard(self) -> bool:
        """Whether all that was sent has arrived in the other socket."""
        if self.sock.fileno() < 0:
            return True
        if self._out:
            return False
        try:
            (count,) = struct.unpack("i", fcntl.ioctl(self.sock, _SIOCOUTQ, b"\0" * 4))
        except OSError:  # a system that does not tell
            return True
        return not count


class MemoryPeer:
    """One end of a connection in memory."""

    def __init__(self, conn: TcpConnection) -> None:
        self.conn = conn
        self.received = b""
        self.ended = self.lost = False
        conn.allow_half_open = True
        conn.on("data", self._data)
        conn.on("end", self._end)
        conn.on("close", self._close)
        conn.pause(False)

    def _data(self, data: bytes) -> None:
        self.received += data

    def _end(self) -> None:
        self.ended = True

    def _close(self) -> None:
        self.lost = not self.ended

    def send(self, data: bytes) -> None:
        if self.conn.tcp_connected:
            self.conn.write(data)

    def finish(self) -> None:
        self.conn.end_writing()

    def reset(self) -> None:
        self.lost = True
        self.conn.abort()

    def stop_reading(self) -> None:
        sock: Any = self.conn.socket
        sock.buffer_bytes = 0

    def close(self) -> None:
        self.conn.abort()


class SocketWorld:
    """Real sockets, on a loop of the test's.

    tcp_server, tls_server, tcp_client: classes for `HttpServer.tcp_server_class` and the like; the
    client reaches by name what `listen` has opened. accepted: the peers at each name, oldest first
    """

    def __init__(self, loop: LoopBase, clock: ManualClock) -> None:
        self.loop = loop
        self.clock = clock
        self.peers: list[SocketPeer] = []
        self.accepted: dict[str, list[SocketPeer]] = {}
        self.listening: dict[str, socket.socket] = {}
        world = self

        class Client(TcpClient):
            """Connects to what a name stands for in this world."""

            def connect(self, host: Any, port: Any, timeout: float | None = None) -> None:
                TcpClient.connect(self, *world._address_of(host), timeout)

        class Server(TcpServer):
            """Listens on a free port, whatever it is asked for."""

            def __init__(self, host: Any, port: Any, loop: Any = None, **more: Any) -> None:
                TcpServer.__init__(self, "127.0.0.1", 0, loop, **more)

        class SecureServer(TlsServer):
            """The same with TLS."""

            def __init__(self, host: Any, port: Any, loop: Any = None, **more: Any) -> None:
                TlsServer.__init__(self, "127.0.0.1", 0, loop, **more)

        self.tls_server: type[TlsServer] = SecureServer
        self.tcp_client: type[TcpClient] = Client
        self.tcp_server: type[TcpServer] = Server

    def _address_of(self, host: Any) -> tuple[str, int]:
        door = self.listening[host.decode() if isinstance(host, bytes) else host]
        address: tuple[str, int] = door.getsockname()
        return address

    def listen(self, name: str, *, refuse: bool = False) -> None:
        """Let Thor's clients connect to `name`; with `refuse`, be refused there."""
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        if not refuse:
            door.listen()
        door.setblocking(False)
        self.listening[name] = door
        self.accepted[name] = []

    def connect(self, server: Any) -> SocketPeer:
        """A client of a server of Thor's."""
        peer = SocketPeer(socket.create_connection(server.address, timeout=LIMIT_S))
        self.peers.append(peer)
        self.settle()
        return peer

    def _turn(self) -> bool:
        """One turn of all. Returns: whether a peer had anything to do"""
        self.loop.run_once(0.0)
        moved = False
        for name, door in self.listening.items():
            with suppress(OSError):
                while True:
                    peer = SocketPeer(door.accept()[0])
                    self.peers.append(peer)
                    self.accepted[name].append(peer)
                    moved = True
        for peer in self.peers:
            moved |= peer.pump()
        return moved

    def settle(self) -> None:
        """Let happen what can happen now."""
        quiet = 0
        while quiet < PATIENT_TURNS:
            quiet = 0 if self._turn() else quiet + 1
            if quiet >= QUIET_TURNS and all(peer.is_heard() for peer in self.peers):
                break

    def until(self, condition: Callable[[], object]) -> bool:
        """Wait for something. Returns: whether it has come, within the limit"""
        limit = time.monotonic() + LIMIT_S
        quiet = 0
        while not condition():
            if time.monotonic() > limit:
                return False
            quiet = 0 if self._turn() else quiet + 1
            if quiet > PATIENT_TURNS:
                self.loop.run_once(0.001)
        return True

    def advance(self, seconds: float) -> None:
        """Time passes, in steps, so that what is due on the way happens in its turn."""
        self.settle()
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            due = self.loop.timers.next_due()
            step = until if due is None else min(max(due, self.clock.monotonic() + 0.001), until)
            self.clock.advance(max(step - self.clock.monotonic(), 1e-9))
            self.settle()

    def end(self) -> None:
        """Close what the test has opened."""
        for door in self.listening.values():
            door.close()
        for peer in self.peers:
            peer.close()
        for _ in range(QUIET_TURNS):
            self.loop.run_once(0.0)


class MemoryWorld:
    """The same in memory."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        self.tcp_client = self.network.tcp_client_class
        self.tcp_server = self.network.tcp_server_class
        self.tls_server = TlsServer  # which has no sockets here
        self.accepted: dict[str, list[MemoryPeer]] = {}
        self._hosts = 0

    def listen(self, name: str, *, refuse: bool = False) -> None:
        """As in SocketWorld."""
        peers = self.accepted[name] = []
        if not refuse:
            for port in (80, 81):
                server = self.tcp_server(name, port)
                server.on("connect", lambda conn: peers.append(MemoryPeer(conn)))

    def connect(self, server: Any) -> MemoryPeer:
        """As in SocketWorld."""
        peer = MemoryPeer(self.network.connect(*server.address))
        settle(self.loop)
        return peer

    def settle(self) -> None:
        """As in SocketWorld."""
        settle(self.loop)

    def until(self, condition: Callable[[], object]) -> bool:
        """As in SocketWorld."""
        settle(self.loop)
        return bool(condition())

    def advance(self, seconds: float) -> None:
        """As in SocketWorld."""
        advance(self.loop, seconds)

    def end(self) -> None:
        """As in SocketWorld: nothing is left of memory."""


World = SocketWorld | MemoryWorld


@contextmanager
def sockets(make_loop: Callable[..., LoopBase], poller: str) -> Iterator[SocketWorld]:
    """A world of sockets on this poller."""
    clock = ManualClock()
    world = SocketWorld(make_loop(backend=poller, clock=clock), clock)
    try:
        yield world
    finally:
        world.end()


@contextmanager
def memory() -> Iterator[MemoryWorld]:
    """A world in memory."""
    yield MemoryWorld()
