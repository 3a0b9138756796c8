"""Static files for an HTTP server, read off the loop's thread.

Owns: the exchange from request to response, and the open file until it is sent. Must not know how
messages are framed, nor where the server listens.

Theory of operation: a thread finds the file, decides on the response and reads the first piece, as
one job. The other pieces are sent one by one, each when all before it have left, so that a client
that does not read costs at most one piece. If the kernel can send from the file, nothing is read.
Otherwise the loop's thread reads a piece that is in memory; a thread reads one that is not, so that
the loop never waits for a disk. In one turn of the loop each client gets one piece, so that nobody
waits for more than a piece of each other client.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from thor.files.disk import NOT_FOUND_ERRNOS, OpenFile, check_root, list_directory, open_file
from thor.files.responses import (
    ResolvedPath,
    Response,
    content_type,
    directory_redirect,
    file_response,
    is_name,
    resolve_path,
    text_response,
)
from thor.http.semantics import PHRASES

if TYPE_CHECKING:
    from thor.http.server.exchange import HttpServerExchange
    from thor.types import RawHeaders

log = logging.getLogger("thor.files")

#: The methods of RFC 9110 section 9.3 and RFC 5789; others are a 501.
_KNOWN_METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE")
)
#: Most bytes that the kernel sends of a file for one client in one turn.
WINDOW_BYTES = 64 * 1024


class PreparedResponse(NamedTuple):
    """The response to a request. file: its body, None without one; piece: the first of the body"""

    response: Response
    file: OpenFile | None = None
    piece: bytes = b""


class StaticFiles:
    """Serves the files below a directory: a listener for an `HttpServer`'s `exchange` event.

        server.on("exchange", StaticFiles("public"))

    It handles GET, HEAD and OPTIONS; other methods of HTTP are a 405, unknown ones a 501. It
    honours conditional requests (RFC 9110 section 13) and a single byte range (section 14); for
    several ranges it sends the whole file. For a directory it sends the index file; without the
    slash at the end of the path, it redirects there. It hides names that begin with a dot (but
    `.well-known`), targets of links outside of the directory, and whatever is not a regular file.
    If a file becomes shorter while it is sent, the connection is reset, so that the client does not
    take it for whole.
    """

    def __init__(
        self,
        directory: str | bytes | os.PathLike[str],
        *,
        index: str = "index.html",
        listing: bool = False,
        hidden: bool = False,
    ) -> None:
        """Check the directory.

        directory: resolved now; a later change of a link in its path has no effect
        index: the file that is sent for its directory
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
        """Respond to a request."""
        method = exchange.method
        allow: list[tuple[str, str | bytes]] = [("allow", "GET, HEAD, OPTIONS")]
        if method == b"OPTIONS":
            exchange.response_start(204, PHRASES[204], allow)
            exchange.response_done([])
        elif method not in (b"GET", b"HEAD"):
            known = method in _KNOWN_METHODS
            _send(exchange, text_response(405, allow) if known else text_response(501))
        else:
            _FileResponse(self, exchange)

    def prepare(
        self, method: bytes, target: bytes, fields: RawHeaders, now: float
    ) -> PreparedResponse:
        """Find the file of a GET or HEAD, and decide on the response. Blocks: for a thread"""
        try:
            found = self._find(resolve_path(target, self.hidden))
        except OSError as exc:
            if exc.errno in NOT_FOUND_ERRNOS:
                return PreparedResponse(text_response(404))
            log.warning("a file could not be served: %s", exc)
            return PreparedResponse(text_response(500))
        if isinstance(found, Response):
            return PreparedResponse(found)
        name, file = found
        try:
            response = file_response(
                method, fields, file.size, file.mtime_ns, content_type(name), now
            )
            piece = file.begin(response.part) if response.part is not None else b""
        except OSError as exc:
            file.close()
            log.warning("a file could not be read: %s", exc)
            return PreparedResponse(text_response(500))
        if response.part is None:
            file.close()
            return PreparedResponse(response)
        return PreparedResponse(response, file, piece)

    def _find(self, path: ResolvedPath | None) -> Response | tuple[bytes, OpenFile]:
        if path is None:
            return text_response(404)
        names = path.names
        if names and not path.slash:
            file = open_file(self.root, names, self.hidden)
            return directory_redirect(path) if file is None else (names[-1], file)
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
        return text_response(404)


def _send(exchange: HttpServerExchange, response: Response) -> None:
    exchange.response_start(response.status, PHRASES[response.status], response.headers)
    if response.body:
        exchange.response_body(response.body)
    exchange.response_done([])


class _FileResponse:
    """One response with a file, or an error, while it is prepared and sent."""

    __slots__ = ("exchange", "file", "loop")

    def __init__(self, files: StaticFiles, exchange: HttpServerExchange) -> None:
        self.exchange: HttpServerExchange | None = exchange
        self.file: OpenFile | None = None
        self.loop = exchange.loop
        exchange.on("close", self.close)  # a sink gets no event that the program listens for
        request = (exchange.method, exchange.uri, exchange.req_hdrs, self.loop.time())
        self.loop.run_in_thread(files.prepare, *request, then=self._on_prepared)

    def close(self) -> None:
        """Release the file: the response is complete, or the client is gone."""
        self.exchange = None
        file, self.file = self.file, None
        if file is not None:
            file.release()

    # -- results of threads

    def _on_prepared(self, result: PreparedResponse | None, failure: BaseException | None) -> None:
        response, file, piece = result or PreparedResponse(text_response(500))
        exchange = self.exchange
        if failure is not None:
            log.error("a file could not be served", exc_info=failure)
        if exchange is None:
            if file is not None:
                file.release()
        elif file is None:
            _send(exchange, response)
        else:
            self.file = file
            exchange.response_start(response.status, PHRASES[response.status], response.headers)
            self._send_piece(exchange, file, piece)

    def _read_next(self, file: OpenFile) -> None:
        """Have a thread read the next piece."""

        def on_read(piece: bytes | None, failure: BaseException | None) -> None:
            if failure is not None:
                log.warning("a file could not be read on: %s", failure)
            file.release()
            if self.exchange is not None:
                self._send_piece(self.exchange, file, piece or b"")

        file.hold()
        self.loop.run_in_thread(file.read, then=on_read)

    # -- sending

    def _send_piece(self, exchange: HttpServerExchange, file: OpenFile, piece: bytes) -> None:
        """Send a piece that was read."""
        if piece or not file.left:
            exchange.response_body(piece)
            self._send_next_or_end(exchange, file)
        else:
            # The file is shorter than Content-Length says: the client must see that, not wait.
            self.close()
            if exchange.http_conn.tcp_conn is not None:
                exchange.http_conn.tcp_conn.abort()

    def _send_next_or_end(self, exchange: HttpServerExchange, file: OpenFile) -> None:
        """Send the next piece when the last one has left, or end the response."""
        if file.left:
            exchange.when_sent(self._schedule_next)
        else:
            self.close()
            exchange.response_done([])

    def _schedule_next(self) -> None:
        """Send the next piece after the pieces of other connections."""
        if self.exchange is not None:
            self.loop.schedule_slice(self._send_next)

    def _send_next(self) -> None:
        """Send the next piece: the last one has left."""
        exchange, file = self.exchange, self.file
        if exchange is None or file is None:
            return
        if exchange.can_send_files():
            count = min(WINDOW_BYTES, file.left)
            if file.is_cached(count) and exchange.response_file(file, file.offset, count):
                file.skip(count)
                self._send_next_or_end(exchange, file)
                return
        elif piece := file.read_cached():
            self._send_piece(exchange, file, piece)
            return
        self._read_next(file)
