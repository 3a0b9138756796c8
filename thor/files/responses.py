"""The responses for static files, as pure functions.

Owns: the names in a request target, media types, the response for a file with its preconditions
and its range, redirects. Must not know the disk, nor exchanges.

Theory of operation: a target is decoded once, to bytes, and the result must be plain names, without
dots, separators and controls. A target that could be read in two ways is a 404.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from thor.http.conditional import (
    UNSATISFIABLE,
    ByteRange,
    Validators,
    evaluate_conditions,
    select_range,
)
from thor.http.dates import format_date
from thor.http.semantics import PHRASES

if TYPE_CHECKING:
    from thor.types import RawHeaders

#: Types by extension. The system's tables are not read: they differ from machine to machine.
TYPES = {
    ".aac": "audio/aac",
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".css": "text/css",
    ".csv": "text/csv",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonld": "application/ld+json",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".rst": "text/plain",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".vtt": "text/vtt",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}

_VALID_ESCAPES_RE = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_FORBIDDEN_IN_NAME_RE = re.compile(rb"[\x00-\x1f\x7f/\\]")


class ResolvedPath(NamedTuple):
    """The path of a target. names: from the directory down; slash: whether it ends with one"""

    names: tuple[bytes, ...]
    slash: bool
    query: bytes


class Response(NamedTuple):
    """A response: `part` of the file is its body, or else `body`."""

    status: int
    headers: list[tuple[str, str | bytes]]
    body: bytes = b""
    part: ByteRange | None = None


def resolve_path(target: bytes, hidden: bool = False) -> ResolvedPath | None:
    """Return the names in a request target, decoded once (RFC 3986 section 2.4).

    target: in origin or absolute form, as it came
    hidden: whether names that begin with a dot are allowed; `.well-known` (RFC 8615) always is
    Returns: None for a target that is malformed or ambiguous: a bad escape, an empty name, `.` or
        `..`, a separator or a control in a name
    """
    _scheme, found, rest = target.partition(b"://")
    if found and not target.startswith(b"/"):
        authority = re.match(rb"[^/?]*", rest)
        target = rest[authority.end() if authority is not None else 0 :]
        target = target if target.startswith(b"/") else b"/" + target
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/") or not _VALID_ESCAPES_RE.fullmatch(path):
        return None
    *names, last = [unquote_to_bytes(name) for name in path[1:].split(b"/")]
    slash = not last
    if last:
        names.append(last)
    if not all(is_name(name, hidden) for name in names):
        return None
    return ResolvedPath(tuple(names), slash, query)


def is_name(name: bytes, hidden: bool) -> bool:
    """Return whether a segment of a path may name a file; dotfiles only if `hidden`."""
    if not name or name in (b".", b"..") or _FORBIDDEN_IN_NAME_RE.search(name):
        return False
    return hidden or not name.startswith(b".") or name == b".well-known"


def content_type(name: bytes) -> str:
    """Return the media type of a file, by the extension of its name; text is taken to be UTF-8."""
    suffix = PurePosixPath(os.fsdecode(name)).suffix.lower()
    media_type = TYPES.get(suffix, "application/octet-stream")
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def file_response(
    method: bytes, fields: RawHeaders, size: int, mtime_ns: int, media_type: str, now: float
) -> Response:
    """Return the response to GET or HEAD of an existing file.

    fields: those of the request; size: in bytes; mtime_ns: when it was modified, Unix
        time in nanoseconds; media_type: its media type; now: Unix time in seconds
    """
    modified = min(mtime_ns // 10**9, int(now))  # never later than Date (RFC 9110 section 8.8.2.1)
    etag = b'"%x-%x"' % (size, mtime_ns)
    validators = Validators(etag, modified)
    validator_fields: list[tuple[str, str | bytes]] = [
        ("etag", etag),
        ("last-modified", format_date(modified)),
        ("accept-ranges", "bytes"),
    ]
    status = evaluate_conditions(method, fields, validators, now)
    if status == 304:
        return Response(304, validator_fields)
    if status != 200:
        return text_response(status)
    part = select_range(method, fields, size, validators, now)
    if part == UNSATISFIABLE:
        return text_response(416, [("content-range", f"bytes */{size}")])
    if part is not None:
        status = 206
        validator_fields.append(("content-range", f"bytes {part.first}-{part.last}/{size}"))
    else:
        part = ByteRange(0, size - 1)
    headers = [
        ("content-type", media_type),
        ("content-length", str(part.length)),
        ("x-content-type-options", "nosniff"),
        *validator_fields,
    ]
    return Response(status, headers, part=None if method == b"HEAD" else part)


def text_response(status: int, headers: list[tuple[str, str | bytes]] | None = None) -> Response:
    """Return a response whose body is the phrase of its status; it quotes no request."""
    return response_with_body(
        status, "text/plain; charset=utf-8", f"{PHRASES[status]}\n".encode(), headers
    )


def response_with_body(
    status: int, media_type: str, body: bytes, headers: list[tuple[str, str | bytes]] | None = None
) -> Response:
    """Return a response with a body, whose media type browsers must not guess (nosniff)."""
    own: list[tuple[str, str | bytes]] = [
        ("content-type", media_type),
        ("content-length", str(len(body))),
        ("x-content-type-options", "nosniff"),
    ]
    return Response(status, own + (headers or []), body)


def directory_redirect(path: ResolvedPath) -> Response:
    """Return a redirect to the same directory with a slash.

    The reference is relative and begins with `./`: it cannot name another host (`//host`) or a
    scheme, and stays valid behind a proxy that adds a prefix.
    """
    location = "./" + quote_from_bytes(path.names[-1], safe="") + "/"
    query = b"?" + path.query if path.query else b""
    return text_response(301, [("location", location.encode() + query)])
