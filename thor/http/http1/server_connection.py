"""One client's HTTP/1.1 connection to a server.

Owns: how the connection and its exchanges end. Must not know sockets: it is the `owner` of a
`TcpConnection`; nor listening: that is the server's; nor messages: `server_requests.py` reads them,
`server_stream.py` writes them.

An exchange ends in one of three ways. It is answered: then it only waits for its last byte to
leave, which is `done(None)`. It is lost: `error`, `close`, `done(error)`. Or it hands its
connection to another protocol. Whoever ends it takes it from the connection at once, so that
nothing more can happen to it; its events are emitted after the present callback, since a method may
be the cause.

A connection ends in three ways as well. `abort`: reset it. `close_when_sent`: send what is queued,
then close. `close_lingering`: the same, but what the client is still sending is read and dropped
for a while.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from thor.events import require_callback
from thor.http.error import ConnectError, OutputStateError
from thor.http.http1.server_requests import (
    NO_REQUEST_YET,
    Http1Server,
    IdleRequests,
    ServerRequests,
)
from thor.http.http1.server_timeouts import Phase, ServerTimeouts, Wait
from thor.http.http1.teardown import LingeringClose, UnsentResponses, response_to
from thor.http.wire.grammar import END_OF_HEAD
from thor.http.wire.state import ServerWriting
from thor.tcp.state import OPEN

if TYPE_CHECKING:
    from thor.http.error import HttpError
    from thor.http.streams import ServerStreamHandler
    from thor.tcp import TcpConnection

log = logging.getLogger("thor.http")

IDLE, BODY, DONE, UPGRADED, FAILED = (
    ServerWriting.IDLE,
    ServerWriting.BODY,
    ServerWriting.DONE,
    ServerWriting.UPGRADED,
    ServerWriting.FAILED,
)

#: How much of later requests is read ahead while one is handled, in bytes; then reading pauses.
READ_AHEAD_BYTES = 64 * 1024


class HttpServerConnection:
    """A connection of an `HttpServer`.

    tcp_conn: None once it is gone, or another protocol has it; address: the client's
    client: what a layer above knows of the client, the same for each of its requests
    """

    client: tuple[str, bool] | None = None
    half_closed = False
    _lingering: LingeringClose | None = None
    _unsent: UnsentResponses | None = None

    def __init__(self, tcp_conn: TcpConnection, server: Http1Server) -> None:
        # What changes in the life of most connections is set here: an attribute that comes later
        # gives the instance a dict of its own, at twice the size.
        self.tcp_conn: TcpConnection | None = tcp_conn
        self.server = server
        self.address = tcp_conn.address
        self.loop = tcp_conn.loop
        self.closing = False
        #: One of the things has happened that are rarely looked for: the client closed its side,
        #: the server drains, a send was short.
        self.needs_check = server.draining or server.crowded
        self.timeouts = ServerTimeouts(self)
        self.requests: ServerRequests | IdleRequests = NO_REQUEST_YET
        tcp_conn.owner = self
        tcp_conn.allow_half_open = True
        tcp_conn.pause(False)
        self.timeouts.arm()

    def __repr__(self) -> str:
        exchange = self.requests.exchange if self.tcp_conn is not None else None
        return f"<HttpServerConnection {self.address!r} with {exchange!r}>"

    # -- called by the transport ---------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Read what has arrived."""
        if self.closing:
            if self._lingering is not None:
                self._lingering.discard(len(data))
            return
        requests = self.requests
        if isinstance(requests, IdleRequests):
            requests = self._own_requests(requests)
        reader = requests.reader
        if reader.buffer:
            reader.feed(data)
        else:
            reader.buffer = data  # all that `feed` would do
        requests.run()
        if (
            reader.buffer
            and reader.buffered > self.server.read_ahead_bytes
            and self.tcp_conn is not None
        ):
            self.tcp_conn.pause(True)

    def _own_requests(self, idle: IdleRequests) -> ServerRequests:
        """Make what reads requests: a connection that waits for one need not have it."""
        requests = ServerRequests(self, self.server, self.timeouts, idle.head)
        self.requests = requests
        return requests

    def end(self) -> None:
        """Take note that the client finished sending; its requests are still answered."""
        self.half_closed = self.needs_check = True
        tcp_conn = self.tcp_conn
        exchange = self.requests.exchange
        if tcp_conn is None or self.closing:
            return
        if (
            exchange is not None
            and exchange.response_state is not DONE
            and (self.server.abort_on_half_close or self.server.draining)
        ):
            self.abort(ConnectError("the client closed its side"))
        else:
            self.timeouts.note_sent(tcp_conn)
            if isinstance(self.requests, IdleRequests):
                self._own_requests(self.requests)
            self.requests.run()
            if self.tcp_conn is not None:
                self.timeouts.arm()

    def pause(self, paused: bool) -> None:
        """Pause (True) or resume (False) the writing of the response."""
        exchange = self.requests.exchange
        if exchange is None:
            if not paused:
                self.loop.call_soon(self.requests.run)
        elif exchange.response_state is BODY:
            exchange.emit("pause", paused)

    def write_blocked(self) -> None:
        """Take note of a short send: the client does not read as fast as the server writes."""
        if self.tcp_conn is not None:
            self.needs_check = True
            self.timeouts.begin_write_blocked(self.tcp_conn)

    def hangup(self) -> None:
        """Take note that the client is gone, seen while reading was paused."""
        self.abort(ConnectError("the client reset the connection"))

    def close(self, exc: OSError | None) -> None:
        """Take note that the client or the network ended the connection."""
        self.abort(ConnectError(str(exc) if exc is not None else "the client closed"))

    def disconnect(self) -> None:
        """Take note that the socket is closed."""
        self.abort(ConnectError("the connection was closed"))
        self._release_parts()
        self.server.on_disconnected()

    def _release_parts(self) -> None:
        """Let go of what refers back to this object: no cycle is left to the collector, which
        would keep the bytes that are in it."""
        self.requests.release()
        del self.requests, self.timeouts

    def failed(self, exc: BaseException) -> None:
        """Respond with a 500, if nothing was sent yet: a listener raised."""
        if self.closing:
            return
        exchange = self.requests.exchange
        if exchange is None:
            self.close_when_sent()
        elif exchange.response_state is DONE:
            self.loop.call_soon(self.requests.run)
        else:
            self.fail_exchange(OutputStateError(f"the program failed: {type(exc).__name__}"))

    # -- the client, and what becomes of its connection ----------------------------------------

    @property
    def is_client_tls(self) -> bool:
        """Whether the client came by TLS: to here, or to a proxy that says so in its PROXY
        header."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self.server.has_tls:
            return tcp_conn is not None
        return tcp_conn.proxy_header is not None and tcp_conn.proxy_header.is_tls

    def is_trusted_tls(self) -> bool:
        """Return whether the client came by TLS, to here or to a proxy that is believed."""
        if self.is_client_tls:
            return True
        tcp_conn, trusts = self.tcp_conn, self.server.trusts_https
        if tcp_conn is None or trusts is None:
            return False
        require_callback(trusts, "trusts_https")  # a coroutine would be taken for a yes
        return bool(trusts(tcp_conn))

    def await_sent(self, exchange: ServerStreamHandler) -> None:
        """End an exchange when the last byte of its response has left."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        if self._unsent is None:
            self._unsent = UnsentResponses(tcp_conn)
        self._unsent.add(exchange)

    def upgrade(self, head: bytes) -> TcpConnection:
        """Send the head of a switch of protocols, and hand the connection over, paused."""
        tcp_conn, requests = self.tcp_conn, self.requests
        assert tcp_conn is not None
        assert isinstance(requests, ServerRequests)
        exchange = requests.exchange
        assert exchange is not None
        tcp_conn.write(head)
        exchange.response_state = UPGRADED
        requests.exchange = None
        self.loop.call_soon(exchange.end, None)
        self.closing = True
        self.timeouts.disarm()
        self.tcp_conn = None
        tcp_conn.owner = None
        if self._unsent is not None:
            self._unsent.end_all(None)
        tcp_conn.pause(True)
        tcp_conn.allow_half_open = False
        rest = requests.reader.take_rest()
        tcp_conn.unread(rest)
        if self.half_closed and not rest:
            self.loop.call_soon(tcp_conn.repeat_end)
        self._release_parts()
        self.server.on_disconnected()
        return tcp_conn

    # -- errors --------------------------------------------------------------------------------

    def refuse(self, error: HttpError) -> None:
        """Answer with an error, if that can still be done, and close."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        if self.requests.exchange is not None:
            self.fail_exchange(error)
        elif self.requests.is_discarding:
            # It is in the rest of a request that was answered.
            self.close_lingering()
        else:
            self._respond(error)
            if not self.server.emit("refused", tcp_conn, error):
                log.info("request from %r refused: %s", self.address, error)

    def fail_exchange(self, error: HttpError) -> None:
        """Answer with an error where nothing was answered yet, else reset: a client must not take
        what it has for the whole."""
        if self.requests.exchange is not None and self.requests.exchange.response_state is IDLE:
            self._respond(error)
            self._lose_exchange(error)
        else:
            self.abort(error)

    def _respond(self, error: HttpError) -> None:
        """Answer in the program's place, and close."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        line, _, rest = response_to(error).partition(b"\r\n")
        data = b"%b%b\r\n%b" % (line, self.server.current_date_line(), rest)
        if self.requests.exchange is not None and self.requests.exchange.method == b"HEAD":
            data = data.partition(END_OF_HEAD)[0] + END_OF_HEAD
        if tcp_conn.write_state is OPEN:
            tcp_conn.write(data)
        self.close_lingering()

    def abort(self, error: HttpError) -> None:
        """Reset the connection; an exchange in progress is lost with `error`."""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        if tcp_conn is None:
            return
        self.closing = True
        self.timeouts.disarm()
        tcp_conn.abort()
        if self._unsent is not None:
            self._unsent.end_all(error)
        self._lose_exchange(error)

    def _lose_exchange(self, error: HttpError) -> None:
        """End the exchange, which cannot be completed any more."""
        requests = self.requests
        exchange = requests.exchange
        if isinstance(requests, IdleRequests) or exchange is None:
            return
        requests.exchange = None
        if exchange.response_state is DONE:
            self.loop.call_soon(exchange.end, error)
            return
        exchange.response_state = FAILED
        self.loop.call_soon(exchange.lose, error)

    # -- closing -------------------------------------------------------------------------------

    def close_when_sent(self) -> None:
        """Close when everything was sent; nothing more is read."""
        self.closing = True
        self._lingering = None
        if self.tcp_conn is not None:
            self.tcp_conn.close()
            self.timeouts.arm()

    def close_lingering(self) -> None:
        """Finish sending, and drop for a while what still arrives."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self.closing:
            return
        if not self.server.linger_timeout:
            self.close_when_sent()
            return
        self.closing = True
        self.requests.reader.take_rest()
        self._lingering = LingeringClose(tcp_conn, self.server.linger_bytes)
        self.timeouts.begin()

    def shutdown(self) -> None:
        """Close now: what is queued is sent, an exchange in progress is lost."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        requests = self.requests
        exchange = requests.exchange
        if isinstance(requests, IdleRequests) or exchange is None:
            pass
        elif exchange.response_state is DONE:
            requests.exchange = None
            if not exchange.release():
                self.await_sent(exchange)
        elif exchange.response_state is BODY and requests.ends_with_connection():
            tcp_conn.abort()  # a clean close would make it look complete
        self.close_when_sent()
        self._lose_exchange(ConnectError("the server was shut down"))

    def make_room(self) -> None:
        """Close after the next response, or when no request comes for a while: clients wait to be
        accepted."""
        self.needs_check = True
        if not self.closing:
            self.timeouts.arm()

    def drain(self) -> None:
        """Close after the response in progress, if it can say so, else when no request comes for a
        while: one that is on its way would be lost."""
        self.needs_check = True
        if self.closing:
            return
        if self.requests.exchange is not None:
            if self.half_closed and self.requests.exchange.response_state is not DONE:
                self.abort(ConnectError("the client closed its side"))
            else:
                self.loop.call_soon(self.requests.run)  # an interrupt may have left it half-way
        elif not self.requests.has_begun_head:
            self.timeouts.begin()

    # -- for the timeouts ----------------------------------------------------------------------

    def current_wait(self) -> Wait:
        """Return what the connection waits for."""
        if self._lingering is not None:
            return Wait(Phase.LINGERING)
        if self.closing:
            return Wait(Phase.CLOSING)
        requests = self.requests
        exchange = requests.exchange
        if isinstance(requests, IdleRequests) or exchange is None:
            server = self.server
            draining = (server.draining or server.crowded) and not requests.reader.started
            return Wait(requests.request_phase(), draining)
        if exchange.response_state is DONE:
            return Wait(Phase.CLOSING)
        return Wait(requests.exchange_phase(exchange), half_closed=self.half_closed)
