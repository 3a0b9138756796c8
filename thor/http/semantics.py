"""What HTTP's registries say, whatever the version.

Owns: what methods promise (RFC 9110 section 9.2) and the phrases of statuses (section 15). Must not
know messages. The standard library's `http.HTTPStatus` has three phrases of RFC 2616 before
Python 3.13, and its import costs a server that needs nothing else of `http`.
"""

from __future__ import annotations

#: Methods that only read (RFC 9110 section 9.2.1).
safe_methods = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
#: Methods that may be repeated when it is not known whether they were carried out (9.2.2).
idempotent_methods = safe_methods | {b"PUT", b"DELETE"}
#: Statuses of responses without a body, whatever their fields say (6.4.1).
no_body_status = frozenset((b"100", b"101", b"102", b"103", b"204", b"304"))

#: The phrases of the statuses that Thor itself answers with.
PHRASES = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}
