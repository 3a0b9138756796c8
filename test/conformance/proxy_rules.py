"""The rules for what stands between the two, and for files: what each says, and where it is kept.

Owns: the rules, by chapter. It is data: what a row means says `shapes.Rule`.
"""

from __future__ import annotations

from shapes import Rule

_BETWEEN = [
    Rule(
        "request-fields",
        "RFC 9110 7.6.1, 7.6.3",
        "Hop-by-hop fields, and those that Connection names, stay behind; Via is appended. "
        "Content-Length, Host and Via cannot be named away.",
        "proxy/forwarding.py",
    ),
    Rule(
        "forwarded",
        "RFC 7239 8.1",
        "``X-Forwarded-*``, ``X-Real-IP`` and ``Forwarded`` of a peer that is not ``trusted`` are "
        "replaced. Host is preserved.",
        "proxy/forwarding.py",
    ),
    Rule(
        "underscores",
        "RFC 3875 4.1.18",
        "A field whose name is another's but for an underscore is dropped "
        "(``drop_underscore_headers``): CGI takes them for one.",
        "proxy/forwarding.py",
    ),
    Rule(
        "path",
        "RFC 3986 6",
        "The path goes as it came; where a request goes does not depend on it, so that it cannot "
        "be read in two ways.",
        "proxy/forwarding.py",
    ),
    Rule(
        "absolute-crossing",
        "3.2.2, 3.2.4",
        "The authority of an absolute target becomes Host; OPTIONS of one without a path becomes "
        "``*``.",
        "proxy/forwarding.py",
    ),
    Rule(
        "request-framing",
        "6, 7",
        "A request's body with a length keeps it; a chunked one is chunked anew, without "
        "extensions, and without trailers unless the upstream's setting forwards them.",
        "proxy/relay.py",
    ),
    Rule(
        "ambiguous",
        "11.2",
        "A request that two recipients could read in two ways is refused, and nothing of it, nor "
        "of what follows, crosses.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "max-forwards",
        "RFC 9110 7.6.2",
        "Max-Forwards is counted down on OPTIONS and TRACE, and answered at 0. TRACE tells no "
        "secret.",
        "proxy/forwarding.py",
    ),
    Rule(
        "loops",
        "RFC 5842 7.2",
        "A request that has been here before: 508. CONNECT: 405.",
        "proxy/forwarding.py",
    ),
    Rule(
        "response-fields",
        "RFC 9110 7.6.1, 7.6.3",
        "Hop-by-hop fields stay behind on the way down as well.",
        "proxy/forwarding.py",
    ),
    Rule(
        "crossing-framing",
        "6, 7",
        "A response's body with a length keeps it; a chunked one, or one that ends with the "
        "connection, is chunked anew; to HTTP/1.0 it ends with the connection. Trailers go down "
        "where they are wanted.",
        "proxy/relay.py",
    ),
    Rule(
        "bad-gateway",
        "RFC 9110 15.6, RFC 9209",
        "What is wrong upstream is a 502, a timeout 504, with Proxy-Status and nothing of the "
        "upstream's.",
        "proxy/local_response.py",
    ),
    Rule(
        "upstream-dies",
        "8",
        "An upstream that dies in a body resets the client's connection.",
        "proxy/relay.py",
    ),
    Rule(
        "crossing-unasked",
        "9.2, 9.3",
        "What an upstream sends unasked reaches nobody.",
        "http/http1/client_connection.py",
    ),
    Rule(
        "client-goes",
        "9.6",
        "A client that vanishes, or whose body is bad, has its upstream aborted; one that has "
        "finished sending gets its answer.",
        "proxy/relay.py",
    ),
    Rule(
        "crossing-nonfinal",
        "RFC 9110 15.2",
        "Informational responses are passed on in order, to clients of HTTP/1.1.",
        "proxy/relay.py",
    ),
    Rule(
        "crossing-expect",
        "RFC 9110 10.1.1",
        "Whether a body is expected is the origin's decision; a client that still waits after a "
        "second gets a 100. The expectation is forwarded as one field, in one form.",
        "proxy/relay.py",
    ),
    Rule(
        "crossing-upgrade",
        "RFC 9110 7.8",
        "An Upgrade is relayed where the request has no content; both connections become a tunnel "
        "when the origin switches. h2c never is.",
        "proxy/relay.py",
    ),
    Rule(
        "crossing-retries",
        "RFC 9110 9.2.2",
        "A request is sent again only if none of it was sent, or if its method is idempotent and "
        "nothing was passed on.",
        "proxy/relay.py",
    ),
]

_FILES = [
    Rule(
        "preconditions",
        "RFC 9110 13.2.2",
        "Preconditions, in their order.",
        "http/conditional.py",
        "http/test_conditional.py::test_preconditions_of_a_get",
    ),
    Rule(
        "if-range",
        "RFC 9110 13.1.5",
        "If-Range compares strongly.",
        "http/conditional.py",
        "http/test_conditional.py::test_if_range",
    ),
    Rule(
        "ranges",
        "RFC 9110 14.2",
        "One byte range; several get the whole.",
        "http/conditional.py",
        "http/test_conditional.py::test_ranges_of_ten_thousand_bytes",
    ),
    Rule(
        "dates",
        "RFC 9110 5.6.7",
        "Dates in their three forms.",
        "http/conditional.py",
        "http/test_conditional.py::test_dates_are_read_in_their_three_forms_only",
    ),
]

CHAPTERS = {
    "Between the two": _BETWEEN,
    "Files": _FILES,
}
