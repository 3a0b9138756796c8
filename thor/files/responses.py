"""What is answered for a static file, as pure functions.

Owns: which names a target is made of, media types, the answer for a file with its preconditions
and its range, redirects. Must not know the disk, nor exchanges.

Theory of operation: a target is decoded once, to bytes, and what is left must be plain names: no
dots, no separators, no controls. Whatever could be read in two ways is nothing that is there.
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

#: Types by extension. The system's own tables differ from machine to machine: not read.
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

_WELL_ESCAPED = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_NOT_IN_A_NAME = re.compile(rb"[\x00-\x1f\x7f/\\]")


class ResolvedPath(NamedTuple):
    """What a target names: `names` from the directory down; `slash`: it ends with one."""

    names: tuple[bytes, ...]
    slash: bool
    query: bytes


class Answer(NamedTuple):
    """A response: `part` of the file is its body, or else `body`."""

    status: int
    headers: list[tuple[str, str | bytes]]
    body: bytes = b""
    part: ByteRange | None = None


def resolve_path(target: bytes, hidden: bool = False) -> ResolvedPath | None:
    """Which names a request target is made of, decoded once (RFC 3986 section 2.4).

    target: in origin or absolute form, as it came
    hidden: whether names that begin with a dot may be asked for; `.well-known` (RFC 8615) may
    Returns: None for a target with no one reading: a bad escape, an empty name, `.` or `..`,
        a separator or a control in a name
    """
    _scheme, found, rest = target.partition(b"://")
    if found and not target.startswith(b"/"):
        authority = re.match(rb"[^/?]*", rest)
        target = rest[authority.end() if authority is not None else 0 :]
        target = target if target.startswith(b"/") else b"/" + target
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/") or not _WELL_ESCAPED.fullmatch(path):
        return None
    *names, last = [unquote_to_bytes(name) for name in path[1:].split(b"/")]
    slash = not last
    if last:
        names.append(last)
    if not all(is_name(name, hidden) for name in names):
        return None
    return ResolvedPath(tuple(names), slash, query)


def is_name(name: bytes, hidden: bool) -> bool:
    """Whether a piece of a path may be a name in the directory; dotfiles only if `hidden`."""
    if not name or name in (b".", b"..") or _NOT_IN_A_NAME.search(name):
        return False
    return hidden or not name.startswith(b".") or name == b".well-known"


def content_type(name: bytes) -> str:
    """Return the media type of a file, by the extension of its name; text is taken to be UTF-8."""
    suffix = PurePosixPath(os.fsdecode(name)).suffix.lower()
    kind = TYPES.get(suffix, "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def response_for(
    method: bytes, fields: RawHeaders, size: int, mtime_ns: int, kind: str, now: float
) -> Answer:
    """Return the answer to GET or HEAD of a file that is there.

    fields: the request's, as they came; size: in bytes; mtime_ns: when it was modified, Unix
        time in nanoseconds; kind: its media type; now: Unix time in seconds
    """
    modified = min(mtime_ns // 10**9, int(now))  # never later than Date (RFC 9110 section 8.8.2.1)
    etag = b'"%x-%x"' % (size, mtime_ns)
    validators = Validators(etag, modified)
    known: list[tuple[str, str | bytes]] = [
        ("etag", etag),
        ("last-modified", format_date(modified)),
        ("accept-ranges", "bytes"),
    ]
    status = evaluate_conditions(method, fields, validators, now)
    if status == 304:
        return Answer(304, known)
    if status != 200:
        return plain_answer(status)
    part = select_range(method, fields, size, validators, now)
    if part == UNSATISFIABLE:
        return plain_answer(416, [("content-range", f"bytes */{size}")])
    if part is not None:
        status = 206
        known.append(("content-range", f"bytes {part.first}-{part.last}/{size}"))
    else:
        part = ByteRange(0, size - 1)
    headers = [
        ("content-type", kind),
        ("content-length", str(part.length)),
        ("x-content-type-options", "nosniff"),
        *known,
    ]
    return Answer(status, headers, part=None if method == b"HEAD" else part)


def plain_answer(status: int, headers: list[tuple[str, str | bytes]] | None = None) -> Answer:
    """Return a short answer in words, which says nothing of the request."""
    return with_body(status, "text/plain; charset=utf-8", f"{PHRASES[status]}\n".encode(), headers)


def with_body(
    status: int, kind: str, body: bytes, headers: list[tuple[str, str | bytes]] | None = None
) -> Answer:
    """Return a short answer with a body of the type `kind`, which browsers must not guess."""
    own: list[tuple[str, str | bytes]] = [
        ("content-type", kind),
        ("content-length", str(len(body))),
        ("x-content-type-options", "nosniff"),
    ]
    return Answer(status, own + (headers or []), body)


def redirect_for(wanted: ResolvedPath) -> Answer:
    """To the same directory with a slash. The reference is relative and begins with `./`: it can
    name neither another host (`//host`) nor a scheme, and holds behind a proxy's prefix."""
    location = "./" + quote_from_bytes(wanted.names[-1], safe="") + "/"
    query = b"?" + wanted.query if wanted.query else b""
    return plain_answer(301, [("location", location.encode() + query)])
