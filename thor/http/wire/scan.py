"""What is wrong with a head, in the order of its bytes.

Owns: the search for the end of a head or trailer section that comes in pieces, and the reason why
one is refused. Must not know what the fields mean.

Theory of operation: a `HeadScanner` reads each byte once, whatever the pieces are. A control
character, a bare CR or LF, and a line over its limit are errors at the byte that shows them; a
line that is no field line at its LF. All of these depend on the bytes before them alone, so that
the answer is the same however the bytes are cut; and a client that sends bare LFs is told so now,
not at a timeout. The parser of complete heads is faster and asks this one only when it finds
that something is wrong.
"""

from __future__ import annotations

from typing import Literal

from thor.http.error import (
    BareCRError,
    FieldSectionTooLargeError,
    HeaderLineEndingError,
    HeaderNameError,
    HeaderValueError,
    HttpError,
    RequestLineError,
    StartLineError,
    TooManyFieldsError,
)
from thor.http.wire.fields import check_field_line
from thor.http.wire.grammar import LINE_END_OR_CTL_RE, OWS, excerpt
from thor.http.wire.limits import Limits
from thor.http.wire.startline import (
    check_request_line_size,
    parse_request_line,
    parse_status_line,
)

#: What the section starts with.
Section = Literal["request", "response", "trailers"]


class HeadScanner:
    """Finds the end of one section, or what is wrong with it.

    Offsets are kept relative to the section's start, which may move between calls.
    """

    __slots__ = ("_fields", "_limits", "_line", "_resume", "_section")

    def __init__(self, section: Section, limits: Limits) -> None:
        self._section = section
        self._limits = limits
        self._line = 0  # where the line that is not complete starts
        self._resume = 0  # up to where that line has been looked at
        self._fields = -1 if section != "trailers" else 0  # field lines seen; -1: no start line

    def scan(self, buf: bytes | bytearray, start: int = 0) -> int:
        """Look at what has come since the last call.

        buf[start:]: the section from its first byte
        Returns: where it ends, after its empty line; -1 if it is not complete
        Raises: a MessageError
        """
        while True:
            event = LINE_END_OR_CTL_RE.search(buf, start + self._resume)
            if event is None:
                end = len(buf)
                if buf[end - 1 : end] == b"\r" and end > start + self._line:
                    end -= 1
            else:
                end = event.start()
            line = start + self._line
            self._check_size(buf, start, line, end)
            if event is None:
                self._resume = end - start
                return -1
            if event.end() - end != 2:
                raise self._illegal(buf, line, end)
            if end == line and self._fields >= 0:
                self._check_total(event.end() - start)
                return event.end()
            self._check_line(bytes(buf[line:end]))
            self._line = self._resume = event.end() - start

    def _check_size(self, buf: bytes | bytearray, start: int, line: int, end: int) -> None:
        """Check that the received part of a line is within the limits."""
        limits = self._limits
        over = start + limits.max_head_bytes  # the first byte that is too much
        if self._fields < 0 and self._section == "request":
            check_request_line_size(buf[line : min(end, over)], limits)
        elif end - line > limits.max_field_bytes:
            raise FieldSectionTooLargeError(f"a line over {limits.max_field_bytes} bytes")
        self._check_total(end - start)

    def _check_total(self, size: int) -> None:
        if size > self._limits.max_head_bytes:
            raise FieldSectionTooLargeError(f"over {self._limits.max_head_bytes} bytes in all")

    def _check_line(self, line: bytes) -> None:
        """Check a complete line: that it is a start line or a field line, as its place requires."""
        fields = self._fields
        if fields >= 0:
            if line[:1] not in (b" ", b"\t"):
                self._fields = fields + 1
                if fields >= self._limits.max_head_fields:
                    raise TooManyFieldsError(f"over {self._limits.max_head_fields}")
            check_field_line(line, first=fields == 0, fold=self._limits.fold)
            return
        self._fields = 0
        if self._section == "request":
            parse_request_line(line, self._limits)
        else:
            parse_status_line(line)

    def _illegal(self, buf: bytes | bytearray, line: int, at: int) -> HttpError:
        """Which error the octet at `at` is, in the line that starts at `line`."""
        octet = buf[at]
        where = f"after {excerpt(buf[line:at][-40:])}"
        if octet == 0x0D:
            return BareCRError(where)
        if octet == 0x0A:
            return HeaderLineEndingError(where)
        detail = f"octet 0x{octet:02x} {where}"
        if self._fields >= 0:
            in_value = b":" in buf[line:at] or buf[line] in OWS
            return HeaderValueError(detail) if in_value else HeaderNameError(detail)
        if self._section == "request":
            return RequestLineError(detail)
        return StartLineError(detail)
