"""Names that programs import from here, and what methods and statuses promise.

Owns: the sets of methods and statuses (RFC 9110 sections 9.2 and 6.4.1), as `bytes`. The rest is
re-exported from where it lives.
"""

from __future__ import annotations

from thor.http.headers import (
    get_header,
    header_dict,
    header_names,
    hop_by_hop_hdrs,
    strip_hop_by_hop,
)

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

#: Methods that only read (RFC 9110 section 9.2.1).
safe_methods = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
#: Methods that may be repeated when it is not known whether they were carried out (9.2.2).
idempotent_methods = safe_methods | {b"PUT", b"DELETE"}
#: Statuses of responses without a body, whatever their fields say (6.4.1).
no_body_status = frozenset((b"100", b"101", b"102", b"103", b"204", b"304"))
