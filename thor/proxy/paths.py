"""Whether a request's path stays below a prefix, as a pure function.

Owns: how servers interpret paths. Must not know endpoints or requests.

Theory of operation: servers interpret the path of a target in different ways. They decode it not at
all, once or twice, with or without its slashes, before or after they remove parameters; some treat
a backslash as a slash, and ignore empty segments. There are too many combinations to try, so each
segment counts for its worst interpretation: each `..` that it may contain goes up, and it goes down
by one only if every server takes it for a name. A path is below the prefix if it never goes above.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

#: Where some servers end a segment: at parameters, at a decoded `?` or `#`, and at a NUL.
_CUT = re.compile(rb"[;?#\0]")


def leaves_prefix(target: bytes) -> bool:
    """Return whether `target`, appended to a prefix, may lead out of it.

    target: in origin form, with its query; a target that leaves the prefix and returns counts
    """
    path = target.partition(b"?")[0]
    if b".." not in _decode(path):
        return False
    depth = 0
    for segment in path.split(b"/"):
        parts = _decode(segment).replace(b"\\", b"/").split(b"/")
        names = [_CUT.split(part, 1)[0] for part in parts]
        if ups := names.count(b".."):
            depth -= ups
            if depth < 0:
                return True
        elif names[0] not in (b"", b"."):
            depth += 1
    return False


def _decode(path: bytes) -> bytes:
    """Decode a path as often as any server does, which is twice."""
    return unquote_to_bytes(unquote_to_bytes(path)) if b"%" in path else path
