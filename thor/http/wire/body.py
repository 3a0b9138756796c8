"""The chunked coding, decoded.

Owns: chunk sizes, extensions, data, the trailer section (RFC 9112 section 7.1), and its encoding.
Must not know heads or connections.

Theory of operation: a `ChunkedDecoder` is handed the reader's buffer and an offset, takes all it
can, and returns the new offset; it keeps no data, so that memory is what the reader holds. A size
line is complete or it stays in the buffer, looked at once; data is passed on as it comes. Sizes
come from the peer and nothing is ever allocated from one.
"""

from __future__ import annotations

import re

from thor import native
from thor.http.error import (
    BareCRError,
    ChunkError,
    ChunkExtensionError,
    ChunkTerminatorError,
    ContentTooLargeError,
    HeaderLineEndingError,
)
from thor.http.wire.fields import Field, parse_fields, trailer_fields, unfold
from thor.http.wire.grammar import CRLF, HEX_DIGITS, LINE_END_OR_CTL_RE, excerpt
from thor.http.wire.limits import Limits
from thor.http.wire.scan import HeadScanner

#: More digits than a 64-bit number has make other parsers overflow.
MAX_SIZE_DIGITS = 16

#: `chunk-ext` (RFC 9112 section 7.1.1), possessive throughout: time is linear in the length.
_EXTENSIONS = re.compile(
    rb"""(?:[ \t]*+;[ \t]*+[-!#$%&'*+.^_`|~0-9A-Za-z]++
        (?:[ \t]*+=[ \t]*+(?:
            [-!#$%&'*+.^_`|~0-9A-Za-z]++
          | "(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"
        ))?+
    )*+""",
    re.VERBOSE,
)

#: The native codec's way with chunks that are plain and complete; None without it.
_decode_chunks = native.decode_chunks

# Where the decoder is: before a size line, in data, before the CRLF after it, in the trailers.
_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedDecoder:
    """Decodes one chunked body.

    done: the last chunk and the trailer section are through
    trailers: the fields of that section that may be passed on
    """

    __slots__ = (
        "_extension_bytes",
        "_left",
        "_limits",
        "_room",
        "_scanned",
        "_scanner",
        "_state",
        "done",
        "trailers",
    )

    def __init__(self, limits: Limits, max_body_bytes: int | None = None) -> None:
        self._limits = limits
        self._state = _SIZE
        self._left = 0  # of the chunk's data
        self._room = max_body_bytes
        self._extension_bytes = 0
        self._scanned = 0  # of a size line that is not complete
        self._scanner: HeadScanner | None = None
        self.done = False
        self.trailers: list[Field] = []

    def decode(self, buf: bytes | bytearray, at: int, out: list[bytes]) -> int:
        """Decode what there is from buf[at:] on, appending data to `out`.

        Returns: the offset up to which the buffer is used up
        Raises: a MessageError; what `out` has by then is part of the body
        """
        size = len(buf)
        state = self._state
        while at < size and state != _DONE:
            if state == _SIZE:
                if _decode_chunks is not None:
                    taken = _decode_chunks(buf, at, self._room)
                    if taken is not None:
                        at = self._take_chunks(*taken, out)
                        if self.done:
                            state = _DONE
                        continue
                end = buf.find(b"\r\n", at, at + MAX_SIZE_DIGITS + 2)
                if end < 0 or buf[at:end].translate(None, HEX_DIGITS):
                    end = self._line_end(buf, at)
                    if end < 0:
                        break
                self._scanned = 0
                self._left = self._read_size(bytes(buf[at:end]))
                state = _DATA if self._left else _TRAILERS
                at = end + 2
            elif state == _DATA:
                end = min(at + self._left, size)
                out.append(bytes(buf[at:end]))
                self._left -= end - at
                at = end
                if not self._left:
                    state = _DATA_END
            elif state == _DATA_END:
                if buf[at : at + 2] != CRLF:
                    if size - at == 1 and buf[at] == 0x0D:
                        break
                    raise ChunkTerminatorError(excerpt(buf[at : at + 2]))
                at += 2
                state = _SIZE
            else:
                end = self._read_trailers(buf, at)
                if end < 0:
                    break
                at = end
                state = _DONE
                self.done = True
        self._state = state
        return at

    def _take_chunks(self, data: bytes, end: int, done: bool, out: list[bytes]) -> int:
        """Take note of whole chunks with their data joined. Returns: the offset behind them"""
        if data:
            out.append(data)
            if self._room is not None:
                self._room -= len(data)
        self._scanned = 0
        self.done = done
        return end

    def _line_end(self, buf: bytes | bytearray, at: int) -> int:
        """Where the size line at `at` ends, -1 if it is not complete."""
        event = LINE_END_OR_CTL_RE.search(buf, at + self._scanned)
        end = event.start() if event else len(buf)
        if not event and buf[end - 1] == 0x0D:
            end -= 1
        if end - at > MAX_SIZE_DIGITS + self._limits.max_chunk_extension_bytes:
            raise ChunkExtensionError(f"over {self._limits.max_chunk_extension_bytes} bytes")
        if event is None:
            self._scanned = end - at
            return -1
        if event.end() - end != 2:
            if buf[end] == 0x0D:
                raise BareCRError("in a chunk size line")
            if buf[end] == 0x0A:
                raise HeaderLineEndingError("in a chunk size line")
            raise ChunkError(f"octet 0x{buf[end]:02x} in a chunk size line")
        return end

    def _read_size(self, line: bytes) -> int:
        """Return the size in a line without control characters (RFC 9112 section 7.1)."""
        digits = line
        if line.translate(None, HEX_DIGITS):
            digits = line[: len(line) - len(line.lstrip(HEX_DIGITS))]
            self._check_extensions(line, len(digits))
        if not 0 < len(digits) <= MAX_SIZE_DIGITS:
            raise ChunkError(excerpt(line))
        size = int(digits, 16)
        if self._room is not None:
            self._room -= size
            if self._room < 0:
                raise ContentTooLargeError("in chunks")
        return size

    def _check_extensions(self, line: bytes, start: int) -> None:
        """Check that chunk extensions are well-formed and within the limits; they are ignored."""
        if b";" not in line or not start:
            raise ChunkError(excerpt(line))
        length = len(line) - start
        self._extension_bytes += length
        if length > self._limits.max_chunk_extension_bytes:
            raise ChunkExtensionError(f"over {self._limits.max_chunk_extension_bytes} bytes")
        if self._extension_bytes > self._limits.max_chunk_extensions_bytes:
            raise ChunkExtensionError(
                f"over {self._limits.max_chunk_extensions_bytes} bytes in one message"
            )
        if not _EXTENSIONS.fullmatch(line, start):
            raise ChunkExtensionError(excerpt(line))

    def _read_trailers(self, buf: bytes | bytearray, at: int) -> int:
        """Where the trailer section at `at` ends, -1 if it is not complete."""
        if self._scanner is None:
            if buf[at : at + 2] == CRLF:
                return at + 2
            self._scanner = HeadScanner("trailers", self._limits)
        end = self._scanner.scan(buf, at)
        if end > at + 2:
            lines = unfold(bytes(buf[at : end - 4]).split(CRLF), self._limits.max_field_bytes)
            fields, _ = parse_fields(lines) or ([], [])
            self.trailers = trailer_fields(fields)
        return end


#: What ends a chunked body without trailers.
LAST_CHUNK = b"0\r\n\r\n"


def encode_chunk(data: bytes) -> bytes:
    """One chunk. Empty data makes none, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
