"""Names that programs import from here. Each is re-exported from where it lives."""

from __future__ import annotations

from thor.http.headers import (
    get_header,
    header_dict,
    header_names,
    hop_by_hop_hdrs,
    strip_hop_by_hop,
)
from thor.http.semantics import idempotent_methods, no_body_status, safe_methods

__all__ = [
    "get_header",
    "header_dict",
    "header_names",
    "hop_by_hop_hdrs",
    "idempotent_methods",
    "no_body_status",
    "safe_methods",
    "strip_hop_by_hop",
]
