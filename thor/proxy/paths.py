"""Whether a request's path stays below a prefix, as a pure function.

Owns: the readings of a path that servers have. Must not know endpoints or requests.

Theory of operation: servers differ in what they take for the path of a target. They decode it not
at all, once or twice, before or after they cut parameters; they take a backslash for a slash, and
empty segments for none. A path is below a prefix only if it is in each of these readings.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

#: What some servers cut from a segment: parameters, what a decoded `?` or `#` begins, and what is
#: behind a NUL.
_CUT = re.compile(rb"[;?#\0][^/]*")
_MAX_DECODINGS = 2


def leaves_prefix(target: bytes) -> bool:
    """Return whether `target`, appended to a prefix, leads out of it in some server's reading.

    target: in origin form, with its query; one that leaves the prefix and comes back counts
    """
    path = target.partition(b"?")[0]
    if b".." not in path and b"%" not in path:
        return False
    return any(map(_rises, _readings(path)))


def _readings(path: bytes) -> set[bytes]:
    found = {path}
    for decodings in range(_MAX_DECODINGS + 1):
        if decodings:
            found |= {unquote_to_bytes(reading) for reading in found}
        found |= {reading.replace(b"\\", b"/") for reading in found}
        found |= {_CUT.sub(b"", reading) for reading in found}
    return found


def _rises(path: bytes) -> bool:
    """Return whether dot segments (RFC 3986 section 5.2.4) lead above where the path began."""
    depth = 0
    for segment in path.split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False
