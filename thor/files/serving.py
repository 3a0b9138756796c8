"""Static files for an HTTP server, read off the loop's thread.

Owns: the exchange from request to answer, and the open file until it is sent. Must not know how
messages are framed, nor where the server listens.

Theory of operation: a thread looks the file up, decides on the answer and reads the first piece
in one go. What follows is sent piece by piece, each when all before it has left, so that a client
that does not read costs one piece at most. Where the kernel can send from the file itself, it does,
and nothing is read. Else a piece is read on the loop's thread if it is in memory. What is not in
memory is read by a thread, so that no disk is ever waited for. In one turn of the loop each client
gets one piece, so that another one waits for no more than a piece of each.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from thor.files.disk import NOT_FOUND_ERRNOS, OpenFile, check_root, list_directory, open_file
from thor.files.responses import (
    Answer,
    ResolvedPath,
    content_type,
    is_name,
    plain_answer,
    redirect_for,
    resolve_path,
    response_for,
)
from thor.http.semantics import PHRASES

if TYPE_CHECKING:
    from thor.http.server.exchange import HttpServerExchange
    from thor.types import RawHeaders

log = logging.getLogger("thor.files")

#: The methods of RFC 9110 section 9.3 and RFC 5789; others are not known here.
_KNOWN_METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE")
)
#: What the kernel sends of a file for one client, in bytes, before the others have their turn.
WINDOW_BYTES = 64 * 1024


class Prepared(NamedTuple):
    """What a request is answered with. file: the body, None without one; piece: the first of it"""

    answer: Answer
    file: OpenFile | None = None
    piece: bytes = b""


class StaticFiles:
    """Serves the files below a directory: a listener for an `HttpServer`'s `exchange` event.

        server.on("exchange", StaticFiles("public"))

    GET, HEAD and OPTIONS; other methods of HTTP are a 405, unknown ones a 501. Conditional
    requests (RFC 9110 section 13) and a single byte range (section 14) are honoured; several
    ranges get the whole. A directory answers with its index file; asked for without its slash, it
    redirects to it. Names that begin with a dot are not there (but `.well-known`), nor is what a
    link leads to outside of the directory, nor anything that is not a regular file. A file that
    becomes shorter while it is sent ends in a reset, so that nobody takes it for whole.
    """

    def __init__(
        self,
        directory: str | bytes | os.PathLike[str],
        *,
        index: str = "index.html",
        listing: bool = False,
        hidden: bool = False,
    ) -> None:
        """directory: resolved now, so that a link in its path may change without effect.

        index: the file that stands for its directory
        listing: list a directory that has no index file
        hidden: serve and list names that begin with a dot, too
        Raises: OSError if there is no such directory, or it may not be read; ValueError if `index`
            is not a plain name
        """
        self.root = os.path.realpath(os.fsencode(directory), strict=True)
        check_root(self.root, listing)
        self.index = os.fsencode(index)
        if not is_name(self.index, hidden):
            raise ValueError(f"index is {index!r}; it must be the name of a file")
        self.listing = listing
        self.hidden = hidden

    def __call__(self, exchange: HttpServerExchange) -> None:
        """Answer an exchange."""
        method = exchange.method
        allow: list[tuple[str, str | bytes]] = [("allow", "GET, HEAD, OPTIONS")]
        if method == b"OPTIONS":
            exchange.response_start(204, PHRASES[204], allow)
            exchange.response_done([])
        elif method not in (b"GET", b"HEAD"):
            known = method in _KNOWN_METHODS
            _send(exchange, plain_answer(405, allow) if known else plain_answer(501))
        else:
            _FileResponse(self, exchange)

    def prepare(self, method: bytes, target: bytes, fields: RawHeaders, now: float) -> Prepared:
        """Blocking: look for what a GET or HEAD names, and decide on the answer."""
        try:
            found = self._find(resolve_path(target, self.hidden))
        except OSError as exc:
            if exc.errno in NOT_FOUND_ERRNOS:
                return Prepared(plain_answer(404))
            log.warning("a file could not be served: %s", exc)
            return Prepared(plain_answer(500))
        if isinstance(found, Answer):
            return Prepared(found)
        name, file = found
        try:
            answer = response_for(method, fields, file.size, file.mtime_ns, content_type(name), now)
            piece = file.begin(answer.part) if answer.part is not None else b""
        except OSError as exc:
            file.close()
            log.warning("a file could not be read: %s", exc)
            return Prepared(plain_answer(500))
        if answer.part is None:
            file.close()
            return Prepared(answer)
        return Prepared(answer, file, piece)

    def _find(self, wanted: ResolvedPath | None) -> Answer | tuple[bytes, OpenFile]:
        if wanted is None:
            return plain_answer(404)
        names = wanted.names
        if names and not wanted.slash:
            file = open_file(self.root, names, self.hidden)
            return redirect_for(wanted) if file is None else (names[-1], file)
        try:
            file = open_file(self.root, (*names, self.index), self.hidden)
        except OSError as exc:
            if not self.listing or exc.errno not in NOT_FOUND_ERRNOS:
                raise
            file = None
        if file is not None:
            return self.index, file
        if self.listing:
            return list_directory(self.root, names, self.hidden)
        return plain_answer(404)


def _send(exchange: HttpServerExchange, answer: Answer) -> None:
    exchange.response_start(answer.status, PHRASES[answer.status], answer.headers)
    if answer.body:
        exchange.response_body(answer.body)
    exchange.response_done([])


class _FileResponse:
    """One answer on its way."""

    __slots__ = ("exchange", "file", "loop")

    def __init__(self, files: StaticFiles, exchange: HttpServerExchange) -> None:
        self.exchange: HttpServerExchange | None = exchange
        self.file: OpenFile | None = None
        self.loop = exchange.loop
        exchange.on("close", self.close)  # a sink does not hear it where the program listens
        asked = (exchange.method, exchange.uri, exchange.req_hdrs, self.loop.time())
        self.loop.run_in_thread(files.prepare, *asked, then=self._prepared)

    def close(self) -> None:
        """Let go of the file: the client is gone, or needs it no more."""
        self.exchange = None
        file, self.file = self.file, None
        if file is not None:
            file.release()

    # -- called when a thread comes back

    def _prepared(self, result: Prepared | None, failure: BaseException | None) -> None:
        answer, file, piece = result or Prepared(plain_answer(500))
        exchange = self.exchange
        if failure is not None:
            log.error("a file could not be served", exc_info=failure)
        if exchange is None:
            if file is not None:
                file.release()
        elif file is None:
            _send(exchange, answer)
        else:
            self.file = file
            exchange.response_start(answer.status, PHRASES[answer.status], answer.headers)
            self._pass_on(exchange, file, piece)

    def _read_on(self, file: OpenFile) -> None:
        """Have a thread read the next piece."""

        def then(piece: bytes | None, failure: BaseException | None) -> None:
            if failure is not None:
                log.warning("a file could not be read on: %s", failure)
            file.release()
            if self.exchange is not None:
                self._pass_on(self.exchange, file, piece or b"")

        file.hold()
        self.loop.run_in_thread(file.read, then=then)

    # -- sending

    def _pass_on(self, exchange: HttpServerExchange, file: OpenFile, piece: bytes) -> None:
        """Send a piece that was read."""
        if piece or not file.left:
            exchange.response_body(piece)
            self._go_on(exchange, file)
        else:
            # What was promised is not there: the client must see that, not wait for it.
            self.close()
            if exchange.http_conn.tcp_conn is not None:
                exchange.http_conn.tcp_conn.abort()

    def _go_on(self, exchange: HttpServerExchange, file: OpenFile) -> None:
        """After a piece was queued: send the next one when it has left, or end the response."""
        if file.left:
            exchange.when_sent(self._next_turn)
        else:
            self.close()
            exchange.response_done([])

    def _next_turn(self) -> None:
        """Send the next piece when the other connections had their turn."""
        if self.exchange is not None:
            self.loop.schedule_slice(self._send_on)

    def _send_on(self) -> None:
        """Send the next piece: there is room for it."""
        exchange, file = self.exchange, self.file
        if exchange is None or file is None:
            return
        if exchange.can_send_files():
            count = min(WINDOW_BYTES, file.left)
            if file.is_cached(count) and exchange.response_file(file, file.offset, count):
                file.skip(count)
                self._go_on(exchange, file)
                return
        elif piece := file.read_cached():
            self._pass_on(exchange, file, piece)
            return
        self._read_on(file)
