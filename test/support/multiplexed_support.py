"""A protocol of several streams on one connection, for tests of the seam that HTTP/2 will use.

Owns: both sides of it: frames of a length and JSON, no byte of HTTP/1.1. Must not know what a test
wants of them. There is no flow control, no splicing, no upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from thor.http.error import ConnectError, HttpError, OutputStateError
from thor.http.streams import ClientStreamHandler, ServerStreamHandler
from thor.http.wire.state import ClientReading, ServerWriting
from thor.tcp import TcpConnection

CAPACITY = 4


class Head(NamedTuple):
    """The head of a request, as `thor.http.streams.RequestFacts` describes it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    host: bytes
    version: bytes = b"2"
    expect_continue: bool = False
    upgrade: tuple[bytes, ...] = ()


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _pairs(fields: Any) -> list[list[str]]:
    return [[_text(name), _text(value)] for name, value in fields]


def _fields(pairs: Any) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


class Framed:
    """What both sides have: frames on a TCP connection, of which this is the owner."""

    def __init__(self, tcp_conn: TcpConnection) -> None:
        self.tcp_conn: TcpConnection | None = tcp_conn
        self.loop = tcp_conn.loop
        self._data = b""
        tcp_conn.owner = self
        tcp_conn.pause(False)

    def send_frame(self, stream: int, kind: str, *values: Any) -> None:
        """Send a frame, while there is a connection."""
        if self.tcp_conn is not None and self.tcp_conn.tcp_connected:
            frame = json.dumps([stream, kind, *values]).encode()
            self.tcp_conn.write(len(frame).to_bytes(4, "big") + frame)

    def on_frame(self, stream: int, kind: str, *values: Any) -> None:
        """Handle a frame."""
        raise NotImplementedError

    def on_lost(self) -> None:
        """Handle the end of the connection."""
        raise NotImplementedError

    def data(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 4 and len(self._data) - 4 >= (
            size := int.from_bytes(self._data[:4], "big")
        ):
            frame, self._data = self._data[4 : 4 + size], self._data[4 + size :]
            self.on_frame(*json.loads(frame))

    def pause(self, paused: bool) -> None: ...
    def write_blocked(self) -> None: ...
    def hangup(self) -> None: ...
    def end(self) -> None: ...
    def close(self, exc: OSError | None) -> None: ...
    def failed(self, exc: BaseException) -> None: ...

    def disconnect(self) -> None:
        self.tcp_conn = None
        self.on_lost()


class ServerSide(Framed):
    """The server's side of a connection, a `ServerConnection`."""

    client: tuple[str, bool] | None = None

    def __init__(self, tcp_conn: TcpConnection, server: Any) -> None:
        self.server = server
        self.address = tcp_conn.address
        self.streams: dict[int, ServerSideStream] = {}
        super().__init__(tcp_conn)

    def on_frame(self, stream: int, kind: str, *values: Any) -> None:
        if kind == "head":
            method, target, host, fields = values
            head = Head(method.encode(), target.encode(), _fields(fields), host.encode())
            carrier = self.streams[stream] = ServerSideStream(self, stream)
            exchange = carrier.exchange = self.server.exchange_class(carrier, head)
            self.server.emit("exchange", exchange)
            if exchange.relay_side is None:
                exchange.emit("request_start", exchange.method, exchange.uri, exchange.req_hdrs)
        elif (known := self.streams.get(stream)) is not None:
            known.on_frame(kind, *values)

    def on_lost(self) -> None:
        for stream in list(self.streams.values()):
            stream.lose(ConnectError("the connection was closed"))
        self.server.on_disconnected()

    def retire(self) -> None:
        """Say that no further stream is served here."""
        self.send_frame(0, "retire")

    drain = make_room = retire

    def shutdown(self) -> None:
        if self.tcp_conn is not None:
            self.tcp_conn.close()


class ServerSideStream:
    """One `ServerStream`."""

    exchange: ServerStreamHandler

    def __init__(self, connection: ServerSide, number: int) -> None:
        self.connection = connection
        self.number = number
        self.loop = connection.loop

    secure = False

    @property
    def is_open(self) -> bool:
        return self.number in self.connection.streams and self.connection.tcp_conn is not None

    def on_frame(self, kind: str, *values: Any) -> None:
        exchange, relay = self.exchange, self.exchange.relay_side
        if kind == "body":
            chunk = values[0].encode("latin-1")
            relay.request_body(chunk) if relay else exchange.emit("request_body", chunk)
        elif kind == "end":
            relay.request_done([]) if relay else exchange.emit("request_done", [])
        elif kind == "reset":
            self.lose(ConnectError("the client has reset the stream"))

    def lose(self, error: HttpError) -> None:
        del self.connection.streams[self.number]
        self.exchange.response_state = ServerWriting.FAILED
        self.loop.call_soon(self.exchange.lose, error)

    def send_head(self, status: Any, phrase: Any, fields: Any) -> None:
        self.exchange.response_state = ServerWriting.BODY
        self._send("head", _text(status), _pairs(fields))

    def send_nonfinal(self, status: Any, phrase: Any, fields: Any) -> None:
        self._send("nonfinal", _text(status), _pairs(fields))

    def send_body(self, chunk: bytes) -> bool:
        self._send("body", chunk.decode("latin-1"))
        return True

    def send_end(self, trailers: Any, close: bool) -> None:
        self.exchange.response_state = ServerWriting.DONE
        self._send("end")
        self.connection.streams.pop(self.number, None)
        if not self.exchange.release():
            self.loop.call_soon(self.exchange.end, None)

    def _send(self, kind: str, *values: Any) -> None:
        self.connection.send_frame(self.number, kind, *values)

    def resume(self) -> None: ...

    def upgrade(self, protocol: bytes, fields: Any) -> TcpConnection:
        raise OutputStateError("there is no upgrade")

    def abort(self, flush: bool) -> None:
        self._send("reset")
        self.lose(ConnectError("the program aborted the exchange"))

    def body_splice(self) -> None:
        return None

    def can_send_files(self) -> bool:
        return False

    def send_file(self, file: Any, offset: int, count: int) -> bool:
        return False

    def when_sent(self, callback: Callable[[], object]) -> None:
        if self.connection.tcp_conn is not None:
            self.connection.tcp_conn.when_sent(callback)


class ClientSide(Framed):
    """The client's side of a connection, a `ClientConnection`."""

    capacity = CAPACITY

    def __init__(self, tcp_conn: TcpConnection, pool: Any) -> None:
        self.pool = pool
        self.streams: dict[int, ClientSideStream] = {}
        self.is_retired = False
        self._count = 0
        super().__init__(tcp_conn)

    @property
    def is_usable(self) -> bool:
        is_free = len(self.streams) < CAPACITY and not self.is_retired
        return is_free and self.tcp_conn is not None and self.tcp_conn.tcp_connected

    def begin(self, exchange: ClientStreamHandler) -> bool:
        if not self.is_usable:
            return False
        self._count += 1
        stream = self.streams[self._count] = ClientSideStream(self, self._count, exchange)
        exchange.attach(stream)
        return True

    def close_idle(self) -> None:
        self.pool.retire(self)
        if self.tcp_conn is not None:
            self.tcp_conn.close()

    def forget(self, number: int) -> None:
        """Have a stream no more."""
        self.streams.pop(number, None)
        if not self.is_retired:
            self.pool.release(self)
        elif not self.streams:
            self.close_idle()

    def on_frame(self, stream: int, kind: str, *values: Any) -> None:
        if kind == "retire":
            self.is_retired = True
            self.pool.retire(self)
        elif (known := self.streams.get(stream)) is not None:
            known.on_frame(kind, *values)

    def on_lost(self) -> None:
        self.is_retired = True
        self.pool.retire(self)
        for stream in list(self.streams.values()):
            stream.exchange.fail_without_response(ConnectError("lost"), True, False)


class ClientSideStream:
    """One `ClientStream`."""

    is_write_paused = False

    def __init__(self, connection: ClientSide, number: int, exchange: ClientStreamHandler) -> None:
        self.connection = connection
        self.number = number
        self.exchange = exchange
        self._received = 0

    @property
    def tcp_conn(self) -> TcpConnection | None:
        return self.connection.tcp_conn

    @property
    def is_open(self) -> bool:
        return self.number in self.connection.streams

    def on_frame(self, kind: str, *values: Any) -> None:
        exchange, relay = self.exchange, self.exchange.relay_side
        if kind == "head":
            exchange.res_version = b"2"
            exchange.on_response(True)
            head = values[0].encode(), b"", _fields(values[1])
            relay.response_start(*head) if relay else exchange.emit("response_start", *head)
        elif kind == "body":
            chunk = values[0].encode("latin-1")
            self._received += len(chunk)
            relay.response_body(chunk) if relay else exchange.emit("response_body", chunk)
        elif kind == "end":
            exchange.transfer_bytes = self._received
            exchange.end(ClientReading.DONE)
            self.connection.forget(self.number)
            relay.response_done([]) if relay else exchange.emit("response_done", [])
            exchange.release()
        elif kind == "reset":
            exchange.stream = None
            self.connection.forget(self.number)
            exchange.fail(ConnectError("the server has reset the stream"))

    def send_head(self, head: Any) -> None:
        authority = getattr(head.fields, "host", b"") or head.authority
        host = next((v for n, v in head.fields if _text(n).lower() == "host"), authority)
        fields = [field for field in head.fields if _text(field[0]).lower() != "host"]
        self._send("head", _text(head.method), _text(head.target), _text(host), _pairs(fields))

    def send_body(self, chunk: bytes) -> bool:
        self._send("body", chunk.decode("latin-1"))
        return True

    def send_end(self, trailers: Any) -> None:
        self._send("end")

    def _send(self, kind: str, *values: Any) -> None:
        self.connection.send_frame(self.number, kind, *values)

    def has_sent(self) -> bool:
        return True

    def has_ended(self) -> bool:
        return False

    def replace(self, exchange: Any) -> None: ...
    def await_continue(self) -> None: ...
    def resume(self) -> None: ...

    def abort(self) -> None:
        self._send("reset")
        self.connection.forget(self.number)

    def bytes_received(self) -> int:
        return self._received

    def body_splice(self) -> None:
        return None
