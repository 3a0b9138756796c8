"""Requests that cross a proxy, and in which form: byte for byte.

Owns: the table. It is data: what a row means says `shapes.ProxyCase`.
"""

from __future__ import annotations

from proxy_rows import ADDED, CHUNKED, HELLO, LENGTH, VIA, asks, got, passed, request
from shapes import CLOSED, ProxyCase, head


def fields(rule: str, name: str, come: tuple[bytes, ...], go: tuple[bytes, ...]) -> ProxyCase:
    """Fields of a request, as they come and as they go on."""
    return request(rule, name, asks(*come), got(*go))


REQUEST_FIELDS = [
    fields("request-fields", name, come, go)
    for name, come, go in [
        ("connection", (b"Connection: keep-alive",), ()),
        ("keep-alive", (b"Keep-Alive: timeout=5", b"Connection: keep-alive"), ()),
        ("proxy-connection", (b"Proxy-Connection: keep-alive",), ()),
        ("te", (b"TE: gzip", b"Connection: TE"), ()),
        ("upgrade-that-is-not-nominated", (b"Upgrade: websocket",), ()),
        ("http2-settings", (b"HTTP2-Settings: AAMAAABk", b"Connection: HTTP2-Settings"), ()),
        ("nominated", (b"Connection: X-A", b"X-A: 1", b"X-B: 2"), (b"X-B: 2",)),
        ("nominated-in-any-case", (b"connection: x-a", b"X-A: 1"), ()),
        ("nominated-in-a-list", (b"Connection: a, , b ,c", b"A: 1", b"B: 2", b"C: 3"), ()),
        ("nominated-in-two-fields", (b"Connection: a", b"Connection: b", b"A: 1", b"B: 2"), ()),
        ("nominated-before-it-is-said", (b"A: 1", b"Connection: a"), ()),
        ("nominated-repeatedly", (b"Connection: a", b"A: 1", b"a: 2"), ()),
        ("nominated-cookie", (b"Connection: cookie", b"Cookie: a=b"), ()),
        ("host-cannot-be-nominated", (b"Connection: host",), ()),
        ("via-cannot-be-nominated", (b"Connection: via", b"B: c"), (b"B: c",)),
        ("close-is-no-field", (b"Connection: x", b"Close: a"), (b"Close: a",)),
        ("case-order-and-repetition", (b"b: 1", b"B: 2", b"a: 3"), (b"b: 1", b"B: 2", b"a: 3")),
        ("obs-text", (b"A: \xe9\xff",), (b"A: \xe9\xff",)),
        ("white-space", (b"A:  b\tc \t", b"B:"), (b"A: b\tc", b"B: ")),
        (
            "credentials",
            (b"Authorization: x", b"Cookie: a=b"),
            (b"Authorization: x", b"Cookie: a=b"),
        ),
        (
            "conditions",
            (b"If-Match: *", b"Range: bytes=0-1"),
            (b"If-Match: *", b"Range: bytes=0-1"),
        ),
        ("date", (b"Date: x",), (b"Date: x",)),
        ("expect-without-a-body", (b"Expect: 100-continue",), ()),
        ("max-forwards-of-a-get", (b"Max-Forwards: 0",), (b"Max-Forwards: 0",)),
    ]
] + [
    request(
        "request-fields",
        "content-length-cannot-be-nominated",
        asks(b"Connection: content-length", LENGTH, method=b"POST", body=b"hello"),
        got(LENGTH, method=b"POST", body=b"hello"),
    ),
    request(
        "request-fields",
        "te-trailers",
        asks(b"TE: trailers", b"Connection: TE"),
        got(last=(b"TE: trailers", b"Connection: TE")),
    ),
    request(
        "request-fields",
        "te-trailers-among-others",
        asks(b"TE: gzip;q=1, trailers", b"Connection: TE, x", b"X: y"),
        got(last=(b"TE: trailers", b"Connection: TE")),
    ),
    request(
        "request-fields",
        "from-1.0",
        asks(b"TE: trailers", b"Connection: TE, upgrade", b"Upgrade: websocket", version=b"1.0"),
        got(added=(*ADDED[:3], b"Via: 1.0 fred")),
        back=passed(last=(b"Connection: close",)),
        then=CLOSED,
    ),
    request(
        "request-fields",
        "expect-from-1.0",
        asks(b"Expect: 100-continue", b"Content-Length: 1", version=b"1.0", body=b"x"),
        got(b"Content-Length: 1", added=(*ADDED[:3], b"Via: 1.0 fred"), body=b"x"),
        back=passed(last=(b"Connection: close",)),
        then=CLOSED,
    ),
    request(
        "request-fields",
        "from-1.0-without-host",
        head(b"GET / HTTP/1.0"),
        got(host=b"a:80", added=(*ADDED[:2], b"Via: 1.0 fred")),
        back=passed(last=(b"Connection: close",)),
        then=CLOSED,
    ),
    request("request-fields", "version-1.2", asks(version=b"1.2"), got()),
    request(
        "request-fields",
        "host-is-preserved",
        asks(host=b"SITE:8080"),
        got(host=b"SITE:8080", added=(*ADDED[:2], b"X-Forwarded-Host: SITE:8080", VIA)),
    ),
    request(
        "request-fields",
        "via-is-appended",
        asks(b"Via: 1.0 ricky", b"vIA: HTTP/1.1 ethel (x)"),
        got(added=(*ADDED[:3], b"Via: 1.0 ricky, HTTP/1.1 ethel (x), 1.1 fred")),
    ),
]

FORWARDED = [
    fields("forwarded", name, come, ())
    for name, come in [
        ("x-forwarded-for", (b"X-Forwarded-For: 192.0.2.1",)),
        (
            "x-forwarded-for-in-any-case",
            (b"x-FORWARDED-for: 192.0.2.1", b"X-Forwarded-For: 192.0.2.2"),
        ),
        ("x-forwarded-proto", (b"X-Forwarded-Proto: https",)),
        ("x-forwarded-host", (b"X-Forwarded-Host: evil",)),
        ("x-forwarded-port", (b"X-Forwarded-Port: 443",)),
        ("x-forwarded-anything", (b"X-Forwarded-Prefix: /x",)),
        ("x-real-ip", (b"X-Real-IP: 192.0.2.1",)),
        ("forwarded", (b"Forwarded: for=192.0.2.1;proto=https",)),
        ("underscores", (b"X_Forwarded_For: 192.0.2.1", b"X-Forwarded_Host: evil")),
        ("nominated", (b"Connection: x-forwarded-for", b"X-Forwarded-For: 192.0.2.1")),
    ]
] + [
    request(
        "forwarded",
        "from-a-trusted-peer",
        asks(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https"),
        got(
            added=(
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-For: 192.0.2.1, 127.0.0.1",
                b"X-Forwarded-Host: site",
                VIA,
            )
        ),
        settings={"trusted": ("127.0.0.0/8",)},
    ),
    request(
        "forwarded",
        "from-a-peer-outside-the-list",
        asks(b"X-Forwarded-For: 192.0.2.1"),
        got(),
        settings={"trusted": ("10.0.0.0/8", "::1/128")},
    ),
    fields("underscores", "alone", (b"A_B: 1",), (b"A_B: 1",)),
    fields("underscores", "twin", (b"A-B: 1", b"A_B: 2"), (b"A-B: 1",)),
    fields("underscores", "twin-first", (b"a_b: 2", b"A-B: 1"), (b"A-B: 1",)),
    fields("underscores", "half-a-twin", (b"A-B-C: 1", b"A_B-C: 2"), (b"A-B-C: 1",)),
    fields("underscores", "of-content-length", (b"Content_Length: 5",), ()),
    fields("underscores", "of-transfer-encoding", (b"Transfer_Encoding: chunked",), ()),
    request(
        "underscores",
        "allowed",
        asks(b"A-B: 1", b"A_B: 2"),
        got(b"A-B: 1", b"A_B: 2"),
        settings={"drop_underscore_headers": False},
    ),
]

TARGETS = [
    request("path", name, asks(target=path), got(target=path))
    for name, path in [
        ("dots", b"/a/../b/./c"),
        ("encoded-dots", b"/%2e%2e/%2E"),
        ("slashes", b"//a///b/"),
        ("encoded-slash", b"/a%2fb%2Fc"),
        ("encoded-nul", b"/%00"),
        ("bad-encoding", b"/%zz%"),
        ("raw-octets", b'/"<>\\^`{|}[]'),
        ("backslashes", b"/a\\..\\b"),
        ("semicolons", b"/a;b=c"),
        ("query", b"/?a=/../b?c=%2e"),
        ("empty-query", b"/?"),
        ("uri-in-a-query", b"/?u=http://b/c"),
        ("at", b"/@b:80/"),
    ]
] + [
    request(
        "absolute-crossing",
        name,
        asks(target=uri, method=method),
        got(
            target=target,
            method=method,
            host=host,
            added=(*ADDED[:2], b"X-Forwarded-Host: " + host, VIA),
        ),
    )
    for name, method, uri, target, host in [
        ("authority-wins", b"GET", b"http://other/x", b"/x", b"other"),
        ("with-a-port", b"GET", b"http://other:81/x?y", b"/x?y", b"other:81"),
        ("without-a-path", b"GET", b"http://other", b"/", b"other"),
        ("with-a-query-only", b"GET", b"http://other?y/z", b"/?y/z", b"other"),
        ("options-without-a-path", b"OPTIONS", b"http://other", b"*", b"other"),
        ("options-with-a-path", b"OPTIONS", b"http://other/", b"/", b"other"),
        ("asterisk", b"OPTIONS", b"*", b"*", b"site"),
    ]
]


def body(
    name: str,
    come: tuple[bytes, ...],
    comes: bytes,
    go: tuple[bytes, ...],
    goes: bytes,
    method: bytes = b"POST",
) -> ProxyCase:
    """A request with a body, as it comes and as it goes on."""
    last = tuple(field for field in go if field == CHUNKED)
    kept = tuple(field for field in go if field != CHUNKED)
    return request(
        "request-framing",
        name,
        asks(*come, method=method, body=comes),
        got(*kept, method=method, last=last, body=goes),
    )


REQUEST_FRAMING = [
    body("length", (LENGTH,), b"hello", (LENGTH,), b"hello"),
    body("length-0", (b"Content-Length: 0",), b"", (b"Content-Length: 0",), b""),
    body("length-with-zeros", (b"Content-Length: 005",), b"hello", (LENGTH,), b"hello"),
    body("length-of-a-get", (LENGTH,), b"hello", (LENGTH,), b"hello", b"GET"),
    body("length-of-a-delete", (LENGTH,), b"hello", (LENGTH,), b"hello", b"DELETE"),
    request(
        "request-framing",
        "neither",
        asks(method=b"POST"),
        got(method=b"POST", last=(b"Content-Length: 0",)),
    ),
    body("chunked", (CHUNKED,), HELLO, (CHUNKED,), HELLO),
    body("chunked-get", (CHUNKED,), HELLO, (CHUNKED,), HELLO, b"GET"),
    body("chunked-in-any-case", (b"transfer-encoding: ChUnKeD",), HELLO, (CHUNKED,), HELLO),
    body(
        "extensions-are-dropped",
        (CHUNKED,),
        b'5;a;b="c"\r\nhello\r\n0;d\r\n\r\n',
        (CHUNKED,),
        HELLO,
    ),
    body("zeros-are-dropped", (CHUNKED,), b"0005\r\nhello\r\n000\r\n\r\n", (CHUNKED,), HELLO),
    body(
        "digits-are-lower-case",
        (CHUNKED,),
        b"A\r\n0123456789\r\n0\r\n\r\n",
        (CHUNKED,),
        b"a\r\n0123456789\r\n0\r\n\r\n",
    ),
    request(
        "request-framing",
        "empty-chunked",
        (asks(CHUNKED, method=b"POST"), b"0\r\n\r\n"),
        got(method=b"POST", last=(CHUNKED,), body=b"0\r\n\r\n"),
    ),
    request(
        "request-framing",
        "empty-chunked-at-once",
        asks(CHUNKED, method=b"POST", body=b"0\r\n\r\n"),
        got(method=b"POST", last=(b"Content-Length: 0",)),
        cut=False,
    ),
    body(
        "trailer-that-looks-like-a-request",
        (b"Trailer: GET", CHUNKED),
        b"5\r\nhello\r\n0\r\nGET: /smuggled HTTP/1.0\r\n\r\n",
        (CHUNKED,),
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    body(
        "coding-is-nominated", (b"Connection: transfer-encoding", CHUNKED), HELLO, (CHUNKED,), HELLO
    ),
    body(
        "coding-and-close-are-nominated",
        (b"Connection: transfer-encoding, keep-alive, content-length", LENGTH),
        b"hello",
        (LENGTH,),
        b"hello",
    ),
    body(
        "request-in-a-body",
        (b"Content-Length: %d" % len(asks()),),
        asks(),
        (b"Content-Length: %d" % len(asks()),),
        asks(),
    ),
    body(
        "a-coding-with-an-underscore",
        (LENGTH, b"Transfer_Encoding: chunked"),
        b"hello",
        (LENGTH,),
        b"hello",
    ),
]


CASES = [*REQUEST_FIELDS, *FORWARDED, *TARGETS, *REQUEST_FRAMING]
