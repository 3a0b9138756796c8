"""How exchanges and their connection end.

Owns: what is done about errors, of the client, the network and the program; who is told; how the
connection is closed. Must not know how requests are read and responses written.

Theory of operation: an exchange ends in one of three ways. It is answered: then it only waits for
its last byte to leave, which is `done(None)`. It is lost: `error`, `close`, `done(error)`. Or it
hands its connection to another protocol. Whoever ends it takes it from the connection at once, so
that nothing more can happen to it; what is to be told is emitted after the present callback, since
a method may have been the cause. A listener that raises then harms nobody else.

A connection ends in three ways as well. `_gone`: nothing can be said any more, reset it. `_close`:
send what is queued, then close. `_close_lingering`: the same, but what the client is still sending
is read and dropped for a while, since closing over unread bytes resets the connection, and the
reset destroys the answer on its way (RFC 9112 section 9.6).
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

from thor.http.error import (
    ConnectError,
    HttpError,
    IncompleteMessageError,
    MessageError,
    OutputStateError,
)
from thor.http.server.patience import BEGUN, DONE, IDLE, READ_BODY, Patience
from thor.http.wire.framing import UNTIL_CLOSE
from thor.http.wire.grammar import END_OF_HEAD
from thor.http.wire.state import ServerWriting
from thor.http.wire.writer import error_response
from thor.tcp.state import CLOSED, OPEN

if TYPE_CHECKING:
    from thor.http.server.exchange import HttpServerExchange
    from thor.types import Address

log = logging.getLogger("thor.http")

BODY, FAILED = ServerWriting.BODY, ServerWriting.FAILED


def _response_to(error: HttpError) -> bytes:
    if isinstance(error, IncompleteMessageError):
        error = MessageError()  # of a client it is a bad request, not a bad gateway
    return error_response(error)


def answer_to(error: HttpError) -> tuple[bytes, int]:
    """Return the status that a server answers an error with, and the bytes of that answer's body.

    Returns: (b"000", 0) for an error that no answer is made to
    """
    head, _, body = _response_to(error).partition(END_OF_HEAD)
    return head[9:12] or b"000", len(body)


class Ending(Patience):
    """The end of a connection, which is this class with the rest."""

    #: The client's.
    address: Address
    #: Exchanges that were answered, oldest first: (bytes written when the last of it has left,
    #: exchange).
    _unsent: list[tuple[float, HttpServerExchange]] = []  # an instance's is made when needed
    #: Bytes that were read and dropped.
    _discarded = 0

    def _pump(self) -> None:
        raise AssertionError

    # -- called by the transport ---------------------------------------------------------------

    def hangup(self) -> None:
        """The client is gone, seen while reading was paused."""
        self._gone(ConnectError("the client reset the connection"))

    def close(self, exc: OSError | None) -> None:
        """The client or the network ended the connection."""
        self._gone(ConnectError(str(exc) if exc is not None else "the client closed"))

    def disconnect(self) -> None:
        """The socket is closed."""
        self._gone(ConnectError("the connection was closed"))
        self.server._disconnected()

    def failed(self, exc: BaseException) -> None:
        """A listener raised: the client gets a 500 if nothing was answered yet."""
        exchange = self._exchange
        if self._closing:
            return
        if exchange is None:
            self._close()
        elif exchange._writing is DONE:
            self._loop.call_soon(self._pump)
        else:
            self._end_exchange(OutputStateError(f"the program failed: {type(exc).__name__}"))

    # -- exchanges -----------------------------------------------------------------------------

    def _settle(self, exchange: HttpServerExchange) -> None:
        """The response was written whole: nothing is left of the exchange but its `done`."""
        self._exchange = None
        tcp_conn = self.tcp_conn
        if tcp_conn is None or not exchange._hears("done"):
            exchange._forget()
            return
        mark: float = tcp_conn.bytes_written + tcp_conn.write_buffer.size
        if tcp_conn.write_failed or tcp_conn.write_state is CLOSED:
            mark = inf  # what was written was dropped
        if not self._unsent:
            self._unsent = []
        self._unsent.append((mark, exchange))
        tcp_conn.when_sent(self._sent)

    def _sent(self) -> None:
        """Bytes have left. Whose were the last of the response?"""
        tcp_conn = self.tcp_conn
        unsent = self._unsent
        while tcp_conn is not None and unsent and unsent[0][0] <= tcp_conn.bytes_written:
            self._loop.call_soon(unsent.pop(0)[1]._end, None)

    def _lose_exchange(self, error: HttpError) -> None:
        """The exchange cannot be completed any more."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if exchange._writing is DONE:
            self._loop.call_soon(exchange._end, error)
            return
        exchange._writing = FAILED
        self._loop.call_soon(exchange._lose, error)

    # -- errors --------------------------------------------------------------------------------

    def _refuse(self, error: HttpError) -> None:
        """This cannot be accepted: say so, once, if it still can be said, and close."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        if self._exchange is not None:
            self._end_exchange(error)
        elif self._reading is READ_BODY:
            # It is in the rest of a request that was answered, and not called for any more.
            self._close_lingering()
        else:
            self._answer(error)
            if not self.server.emit("refused", tcp_conn, error):
                log.info("request from %r refused: %s", self.address, error)

    def _end_exchange(self, error: HttpError) -> None:
        """Answer with an error where nothing was answered yet, else reset: a client must not take
        what it has for the whole."""
        if self._exchange is not None and self._exchange._writing is IDLE:
            self._answer(error)
            self._lose_exchange(error)
        else:
            self._gone(error)

    def _answer(self, error: HttpError) -> None:
        """Answer for the program, and close."""
        tcp_conn = self.tcp_conn
        assert tcp_conn is not None
        data = _response_to(error)
        line, _, rest = data.partition(b"\r\n")
        data = b"%b%b\r\n%b" % (line, self.server._date_line(), rest)
        if self._exchange is not None and self._exchange.method == b"HEAD":
            data = data.partition(END_OF_HEAD)[0] + END_OF_HEAD
        if tcp_conn.write_state is OPEN:
            tcp_conn.write(data)
        self._close_lingering()

    def _gone(self, error: HttpError) -> None:
        """The client is gone, or is given up."""
        tcp_conn, self.tcp_conn = self.tcp_conn, None
        if tcp_conn is None:
            return
        self._closing = True
        self.deadline_at = inf
        tcp_conn.abort()
        unsent, self._unsent = self._unsent, []
        for mark, exchange in unsent:
            self._loop.call_soon(exchange._end, None if mark <= tcp_conn.bytes_written else error)
        self._lose_exchange(error)

    # -- closing -------------------------------------------------------------------------------

    def _close(self) -> None:
        """Close when everything was sent; the client has nothing more that we want."""
        self._closing = True
        self._lingering = False
        if self.tcp_conn is not None:
            self.tcp_conn.close()
            self._wait()

    def _close_lingering(self) -> None:
        """Finish sending, and drop for a while what still arrives."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None or self._closing:
            return
        if not self.server.linger_timeout:
            self._close()
            return
        self._closing = self._lingering = True
        self._discarded = 0
        self._reader.take_rest()
        tcp_conn.end_writing()
        tcp_conn.pause(False)
        self._begin_wait()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > self.server.linger_bytes and self.tcp_conn is not None:
            # A close would be a reset, and might overtake the answer. The client is left to read
            # that; what it goes on sending waits in the kernel's buffers, and then with itself.
            self.tcp_conn.pause(True)

    def shutdown(self) -> None:
        """Close now: what is queued is sent, an exchange in progress is lost."""
        tcp_conn = self.tcp_conn
        if tcp_conn is None:
            return
        exchange = self._exchange
        if exchange is not None and exchange._writing is DONE:
            self._settle(exchange)
        elif (
            exchange is not None and exchange._writing is BODY and exchange._framing == UNTIL_CLOSE
        ):
            tcp_conn.abort()  # a clean close would make it look complete
        self._close()
        self._lose_exchange(ConnectError("the server was shut down"))

    def make_room(self) -> None:
        """Clients wait to be accepted: close after the next response, or when no request comes for
        a while."""
        self._needs_deadline_check = True
        if not self._closing:
            self._wait()

    def drain(self) -> None:
        """Close when it is over: after the response in progress, if it can say so, else when no
        request comes for a while. One that is on its way would be lost."""
        self._needs_deadline_check = True
        if self._closing:
            return
        if self._exchange is not None:
            if self._half_closed and self._exchange._writing is not DONE:
                self._gone(ConnectError("the client closed its side"))
            else:
                self._loop.call_soon(self._pump)  # an interrupt may have left it half-way
        elif self._head != BEGUN:
            self._begin_wait()
