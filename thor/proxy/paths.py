"""Whether a request's path stays below a prefix, as a pure function.

Owns: the readings of a path that servers have. Must not know endpoints or requests.

Theory of operation: servers differ in what they take for the path of a target. They decode it not
at all, once or twice, all of it or all but its slashes, before or after they cut parameters; they
take a backslash for a slash, and empty segments for none. Nobody can try all combinations, so each
segment counts for the least that it may be: each `..` that may be in it goes up, and it goes down
by one only if it is a name in every reading. A path is below the prefix if it never goes above.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

#: What some servers cut from a segment: parameters, what a decoded `?` or `#` begins, and what is
#: behind a NUL.
_CUT = re.compile(rb"[;?#\0]")


def leaves_prefix(target: bytes) -> bool:
    """Return whether `target`, appended to a prefix, may lead out of it.

    target: in origin form, with its query; one that leaves the prefix and comes back counts
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
    """Decode a path as often as any server does: twice."""
    return unquote_to_bytes(unquote_to_bytes(path)) if b"%" in path else path
