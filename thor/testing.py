"""For tests: connections in memory, a clock that is set by hand, records of what was emitted.

Owns: sockets, a poller and a network in memory. They take no fds and never wait, so that a test
repeats exactly. Must not be imported by anything in Thor.

Theory of operation: only the kernel is replaced; loops, connections and all above are the real
ones. `settle` runs a loop until nothing is left to do now, `advance` moves the time on, timer by
timer. What is sent arrives at once, up to the room in the receiver's buffer. For example::

    client, server = connection_pair(loop := memory_loop())
    heard = Recorder(server, "data", "end")
    server.pause(False)
    client.write(b"hello")
    client.close()
    settle(loop)
    assert heard.take() == [("data", b"hello"), ("end",)]
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from difflib import ndiff
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

from thor.events import EventEmitter
from thor.loop import LoopBase, make
from thor.loop.poller import ERROR, HANGUP, MAX_EVENTS, READABLE, WRITABLE
from thor.tcp import AddressRefused, TcpClient, TcpConnection, TcpServer

#: The numbers of fds in memory start here, where no kernel's are.
FIRST_FD = 1_000_000
#: The size of a socket's receive buffer, in bytes, unless a test sets another.
BUFFER_BYTES = 64 * 1024


class ManualClock:
    """A clock that only `advance` moves; monotonic from 1000.0, wall from 2023-11-14 22:13:20."""

    def __init__(self) -> None:
        self._monotonic = 1000.0
        self._time = 1_700_000_000.0

    def monotonic(self) -> float:
        return self._monotonic

    def time(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Move the time on. No timer fires by that alone: see the function `advance`."""
        if not seconds >= 0:
            raise ValueError(f"time cannot go on by {seconds!r} seconds")
        self._monotonic += seconds
        self._time += seconds


class MemoryPoller:
    """A `Poller` for fds in memory. It never waits: a wait moves the clock on instead."""

    name = "memory"
    never_waits = True

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.polls = 0  #: how many times the loop has asked
        self._numbers = count(FIRST_FD)
        self._state: dict[int, Callable[[], int]] = {}
        self._interest: dict[int, int] = {}

    def add(self, state: Callable[[], int]) -> int:
        """Open an fd. `state()` says which bits hold. Returns: its number, never used before"""
        self._state[fd := next(self._numbers)] = state
        return fd

    def remove(self, fd: int) -> None:
        """Close an fd: it is watched no longer, as with a kernel."""
        self._state.pop(fd, None)
        self._interest.pop(fd, None)

    def register(self, fd: int, bits: int) -> None:
        if fd in self._interest or fd not in self._state:
            raise _os_error(errno.EEXIST if fd in self._interest else errno.EBADF)
        self._interest[fd] = bits

    def modify(self, fd: int, bits: int) -> None:
        if fd not in self._interest:
            raise _os_error(errno.ENOENT)
        self._interest[fd] = bits

    def unregister(self, fd: int) -> None:
        self._interest.pop(fd, None)

    def ready(self) -> list[tuple[int, int]]:
        """What holds now of what is watched for, in order of registration."""
        bits = {fd: self._state[fd]() & (i | ERROR | HANGUP) for fd, i in self._interest.items()}
        return [event for event in bits.items() if event[1]]

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        self.polls += 1
        events = self.ready()
        if not events and timeout_s is None:
            raise RuntimeError("nothing can happen any more: the loop would wait for ever")
        if not events and timeout_s:
            self.clock.advance(timeout_s)
        if len(events) > MAX_EVENTS:
            del events[MAX_EVENTS:]
            for fd, _ in events:  # their turn comes again after that of the others
                self._interest[fd] = self._interest.pop(fd)
        return events

    def close(self) -> None:
        self._interest.clear()


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class MemorySocket:
    """One end of a connected stream, with the methods of `socket.socket` that connections call.

    buffer_bytes: how much it holds of what arrived; may be set at any time, 0 stops the peer
    received: what arrived and was not yet taken by `recv`
    calls: how many times "recv" and "send" were called; `sendmsg` counts as "send"
    """

    family, type = socket.AF_INET, socket.SOCK_STREAM

    def __init__(self, poller: MemoryPoller, address: Any, peer: MemorySocket | None) -> None:
        self.buffer_bytes = BUFFER_BYTES
        self.received = bytearray()
        self.calls = {"recv": 0, "send": 0}
        self.address = address
        self._poller = poller
        self._fd = poller.add(self._bits)
        self._faults: dict[tuple[str, int], OSError] = {}
        self._error = 0  # what SO_ERROR would tell
        self._fin_sent = self._fin_received = False
        self._reset = self._closed = self._lingers = False
        self._backlog: list[MemorySocket] | None = None  # of a listening socket
        self._peer: MemorySocket = peer or self
        self._peer._peer = self

    def fail(self, call: str, error: OSError, nth: int = 1) -> None:
        """Have the `nth` call of "recv" or "send" from now on (1: the next) raise `error`."""
        self._faults[call, self.calls[call] + nth] = error

    def reset(self, code: int = errno.ECONNRESET) -> None:
        """End the connection as if a RST arrived: after what was received, `code` is raised."""
        self._reset, self._error = True, code

    def _bits(self) -> int:
        if self._backlog is not None:
            return READABLE if self._backlog else 0
        if self._reset:
            return READABLE | WRITABLE | HANGUP | (ERROR if self._error else 0)
        bits = READABLE if self.received or self._fin_received else 0
        if self._fin_sent and self._fin_received:
            bits |= HANGUP
        return bits | (WRITABLE if self._fin_sent or self._peer._room() > 0 else 0)

    def _room(self) -> int:
        return BUFFER_BYTES if self._closed else self.buffer_bytes - len(self.received)

    def _begin(self, call: str) -> None:
        if self._closed:
            raise _os_error(errno.EBADF)
        self.calls[call] += 1
        if fault := self._faults.pop((call, self.calls[call]), None):
            raise fault

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._begin("recv")
        if self.received:
            data = bytes(self.received[:size])
            if not flags & socket.MSG_PEEK:
                del self.received[:size]
            return data
        if code := self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise _os_error(code)
        if self._fin_received or self._reset:
            return b""
        raise _os_error(errno.EAGAIN)

    def send(self, data: bytes | memoryview) -> int:
        self._begin("send")
        if code := self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise _os_error(code)
        if self._fin_sent or self._reset:
            raise _os_error(errno.EPIPE)
        if self._peer._closed:
            self.reset()  # the bytes are lost, and a RST answers them
            return len(data)
        taken = min(len(data), self._peer._room())
        if taken <= 0 < len(data):
            raise _os_error(errno.EAGAIN)
        self._peer.received += data[:taken]
        return taken

    def sendmsg(self, buffers: Iterable[bytes | memoryview]) -> int:
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        if self._reset or self._closed:
            raise _os_error(errno.ENOTCONN)
        if how != socket.SHUT_RD:
            self._fin_sent = self._peer._fin_received = True

    def close(self) -> None:
        self._poller.remove(self._fd)
        for end in self._backlog or ():
            end._peer.reset()
        if not (self._closed or self._reset or self._peer._closed):
            if self._lingers or self.received:  # unread bytes make it a RST, as in a kernel
                self._peer.reset()
            else:
                self._peer._fin_received = True
        self._closed = True

    def listen(self, backlog: int) -> None:
        self._backlog = []

    def accept(self) -> tuple[MemorySocket, Any]:
        if not self._backlog:
            raise _os_error(errno.EAGAIN)
        end = self._backlog.pop(0)
        return end, end._peer.address

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._lingers |= option == socket.SO_LINGER and level == socket.SOL_SOCKET  # for no time

    def getsockopt(self, level: int, option: int) -> int:
        code, self._error = self._error, 0
        return code

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def fileno(self) -> int:
        return -1 if self._closed else self._fd

    def getsockname(self) -> Any:
        return self.address

    def getpeername(self) -> Any:
        return self._peer.address


def memory_loop(clock: ManualClock | None = None) -> LoopBase:
    """A loop for what is in memory. It raises what a callback raises.

    Its `run()` jumps from timer to timer, and ends in RuntimeError if it would wait for ever.
    """
    poller = MemoryPoller(clock)
    loop = make(backend=poller, clock=poller.clock)
    loop.on_exception = "raise"
    return loop


def settle(loop: LoopBase) -> None:
    """Run a memory loop until nothing is left to do now; AssertionError if it never rests."""
    poller = _poller_of(loop)
    for _ in range(10_000):
        if loop._patience(None) != 0.0 and not poller.ready():
            return
        loop.run_once()
    raise AssertionError(f"the loop spins; ready: {poller.ready()}")


def advance(loop: LoopBase, seconds: float) -> None:
    """Move the clock of a memory loop on by `seconds`; timers fire on the way, each at its time."""
    clock = _poller_of(loop).clock
    until = clock.monotonic() + seconds
    settle(loop)
    # Small steps can add up to a rounding error less than the sum that a timer waits for.
    while (due := loop._timers.next_due()) is not None and due <= until + 1e-9:
        clock.advance(max(0.0, due - clock.monotonic()))
        clock._monotonic = max(clock._monotonic, due)
        settle(loop)
    clock.advance(max(0.0, until - clock.monotonic()))
    settle(loop)


def _poller_of(loop: LoopBase) -> MemoryPoller:
    loop._open()
    if not isinstance(loop._poller, MemoryPoller):
        raise TypeError(f"{loop!r} is not a memory loop: memory_loop() makes one")
    return loop._poller


class Pair(NamedTuple):
    """Two connections, each the other's peer."""

    client: TcpConnection
    server: TcpConnection


def connection_pair(
    loop: LoopBase | None = None,
    *,
    clock: ManualClock | None = None,
    buffer_bytes: int = BUFFER_BYTES,
    address: Any = ("127.0.0.1", 80),
    client_address: Any = ("127.0.0.1", 50000),
) -> Pair:
    """Two real `TcpConnection`s, joined in memory; both start paused, as connections do.

    loop: a memory loop; None makes one, with `clock`
    buffer_bytes: both sockets' receive buffers; `conn.socket.buffer_bytes` sets one of them
    """
    loop = loop or memory_loop(clock)
    client: Any = MemorySocket(_poller_of(loop), client_address, None)
    server: Any = MemorySocket(_poller_of(loop), address, client)
    client.buffer_bytes = server.buffer_bytes = buffer_bytes
    return Pair(TcpConnection(client, address, loop), TcpConnection(server, client_address, loop))


class MemoryNetwork:
    """Servers and clients that reach each other in memory, by host and port.

    tcp_client_class, tcp_server_class: a `TcpClient` and a `TcpServer` of this network, for
        `HttpClient.tcp_client_class` and the like; they use its loop unless another is given
    pairs: each connection that was accepted, oldest first
    errors: set `errors[host, port] = (errtype, code)` to have connects fail so, or None to have
        them never end; where nothing listens they fail with (socket.error, errno.ECONNREFUSED)
    """

    def __init__(self, loop: LoopBase | None = None) -> None:
        self.loop = loop or memory_loop()
        self.pairs: list[Pair] = []
        self.errors: dict[tuple[str, int], tuple[type[OSError], int] | None] = {}
        self._doors: dict[tuple[str, int], MemorySocket] = {}
        self._clients: dict[MemorySocket, TcpConnection] = {}
        self._ports = count(50000)
        self.tcp_client_class: Any = type("MemoryTcpClient", (_Client,), {"network": self})
        self.tcp_server_class: Any = type("MemoryTcpServer", (_Server,), {"network": self})

    def connect(self, host: str, port: int) -> TcpConnection:
        """A bare connection to a server here, for a peer that the test itself plays.

        The server accepts it when the loop runs next. Raises: KeyError if nothing listens
        """
        door, poller = self._door((host, port)), _poller_of(self.loop)
        if door is None or door._backlog is None:
            raise KeyError((host, port))
        client: Any = MemorySocket(poller, ("127.0.0.1", next(self._ports)), None)
        door._backlog.append(MemorySocket(poller, door.address, client))
        self._clients[client] = TcpConnection(client, door.address, self.loop)
        return self._clients[client]

    def _door(self, where: tuple[str, int]) -> MemorySocket | None:
        door = self._doors.get(where)
        return None if door is None or door._closed else door


def _where(host: str | bytes, port: int | str | None) -> tuple[str, int]:
    return (host if isinstance(host, str) else host.decode("ascii"), int(port or 0))


class _Client(TcpClient):
    """A `TcpClient` that connects in memory. `check_ip` is asked about the host as it is."""

    network: MemoryNetwork

    def __init__(self, loop: LoopBase | None = None) -> None:
        TcpClient.__init__(self, loop or self.network.loop)

    def connect(self, host: Any, port: Any, timeout: float | None = None) -> None:
        self.error = None
        attempt = self._loop._schedule(0, self._try, _where(host, port))
        self._lookup: Any = SimpleNamespace(cancel=attempt.delete)
        if timeout is not None:
            self._timer = self._loop._schedule(timeout, self._timed_out)

    def _try(self, where: tuple[str, int]) -> None:
        errors = self.network.errors
        error = errors.get(where, (OSError, errno.ECONNREFUSED))
        if self.check_ip is not None and not self.check_ip(where[0]):
            self._fail(AddressRefused(errno.EACCES, "refused by check_ip", where[0]))
        elif where not in errors and self.network._door(where) is not None:
            conn = self.network.connect(*where)
            try:
                self._send_header(conn.socket)
            except OSError as why:
                conn.abort()
                self._fail(why)
            else:
                self._succeed(conn)
        elif error is not None:
            self._fail(error[0](error[1], f"no connection to {where}"))


class _Server(TcpServer):
    """A `TcpServer` in memory. Options of real sockets are accepted, and mean nothing here."""

    network: MemoryNetwork

    def __init__(
        self,
        host: Any,
        port: Any,
        loop: LoopBase | None = None,
        *,
        proxy_protocol: Any = None,
        **_: Any,
    ) -> None:
        network = self.network
        where = _where(host, int(port) or next(network._ports))
        if network._door(where) is not None:
            raise _os_error(errno.EADDRINUSE)
        door: Any = MemorySocket(_poller_of(network.loop), where, None)
        network._doors[where] = door
        TcpServer.__init__(
            self, None, None, loop or network.loop, sock=door, proxy_protocol=proxy_protocol
        )

    def _adopt(self, conn: TcpConnection) -> None:
        end: Any = conn.socket
        self.network.pairs.append(Pair(self.network._clients.pop(end._peer), conn))
        TcpServer._adopt(self, conn)


class Recorder:
    """Keeps these events of an emitter, in `events`: tuples `(event, *args)`, in order.

    Bytes that follow each other are joined, since where they are cut is chance.
    """

    def __init__(self, emitter: EventEmitter, *events: str) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._record(emitter, events)

    def _record(self, emitter: EventEmitter, events: Iterable[str], *label: str) -> None:
        for event in events:
            emitter.on(event, lambda *args, _start=(*label, event): self._add((*_start, *args)))

    def _add(self, entry: tuple[Any, ...]) -> None:
        last = self.events[-1] if self.events else (None,)
        if isinstance(entry[-1], bytes) and last[:-1] == entry[:-1]:
            self.events[-1] = (*entry[:-1], last[-1] + entry[-1])
        else:
            self.events.append(entry)

    def take(self) -> list[tuple[Any, ...]]:
        """What was recorded since the last `take`."""
        events, self.events = self.events, []
        return events


class Playbook(Recorder):
    """A conversation, in steps that read one after the other::

        play = Playbook(network.loop).peer("browser", network.connect("localhost", 80))
        play.send("browser", b"GET / HTTP/1.1...").expect(("browser", "data", ANY))

    Each step is done at once, and the loop runs until nothing is left to do.
    """

    def __init__(self, loop: LoopBase) -> None:
        self.events = []
        self._loop = loop
        self._peers: dict[str, TcpConnection] = {}
        self._story: list[str] = []

    def watch(self, name: str, emitter: EventEmitter, *events: str) -> Self:
        """Record these events of `emitter`, as `(name, event, *args)`."""
        self._record(emitter, events, name)
        return self

    def peer(self, name: str, conn: TcpConnection) -> Self:
        """Play the part of `conn`, which may half-close: record its `data`, `end`, `close`."""
        self._peers[name] = conn
        conn.allow_half_open = True
        conn.pause(False)
        return self.watch(name, conn, "data", "end", "close")

    def send(self, name: str, data: bytes) -> Self:
        """The peer sends these bytes."""
        return self._step(f"{name} sends {data!r}", self._peers[name].write, data)

    def finish(self, name: str) -> Self:
        """The peer finishes sending (FIN); it still reads."""
        return self._step(f"{name} finishes", self._peers[name].end_writing)

    def call(self, method: Callable[..., Any], *args: Any) -> Self:
        """The program calls a method."""
        return self._step(f"{method.__qualname__}{args!r}", method, *args)

    def advance(self, seconds: float) -> Self:
        """Time passes."""
        return self._step(f"{seconds:g} s pass", advance, self._loop, seconds)

    def _step(self, told: str, do: Callable[..., Any], *args: Any) -> Self:
        self._story.append(told)
        do(*args)
        settle(self._loop)
        return self

    def expect(self, *events: tuple[Any, ...]) -> Self:
        """Fail, with a diff, unless these events and no others happened since the last `expect`.

        `unittest.mock.ANY` stands for any argument.
        """
        settle(self._loop)
        happened = self.take()
        self._story.extend(f"    {event!r}" for event in happened)
        if happened != list(events):
            # What ANY stands for is no difference.
            wanted = [next((h for h in happened if h == event), event) for event in events]
            diff = "\n".join(ndiff([*map(repr, wanted)], [*map(repr, happened)]))
            raise AssertionError("\n".join([*self._story, "expected (-), happened (+):", diff]))
        return self
