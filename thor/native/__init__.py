"""The one switch between the native codec and pure Python.

Owns: whether the compiled codec is used. Must not know what its functions mean: each has its twin
in `thor.http.wire`, where both are put together. It imports nothing of Thor.

Theory of operation: the choice is made once, at the first import. Where the codec was not built,
cannot be loaded, or `THOR_NO_EXTENSIONS` is set in the environment (to anything but "" and "0"),
each function here is None, and the twins do all of the work. What a program sees is the same.

loaded: whether the native codec is in use
"""

from __future__ import annotations

import os

__all__ = [
    "decode_chunks",
    "loaded",
    "parse_request",
    "parse_response",
    "render_fields",
    "render_response",
]

try:
    if os.environ.get("THOR_NO_EXTENSIONS", "") not in ("", "0"):
        raise ImportError("THOR_NO_EXTENSIONS is set")
    from thor.native import _codec
except ImportError:
    loaded = False
else:
    loaded = True

parse_request = _codec.parse_request if loaded else None
parse_response = _codec.parse_response if loaded else None
render_fields = _codec.render_fields if loaded else None
render_response = _codec.render_response if loaded else None
decode_chunks = _codec.decode_chunks if loaded else None
