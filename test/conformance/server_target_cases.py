"""Request lines, and whom a request is for: what a client may send, what a server does about it.

Owns: the table. It is data: what a row means says `shapes.ServerCase`.
"""

from __future__ import annotations

from server_rows import GET, HOST, LINE, TARGET, VERSION, accepted, host, line, refused
from shapes import CLOSED, Seen, ServerCase, head

REQUEST_LINE = [
    *refused(
        "request-line",
        400,
        ("two-spaces-before-the-target", LINE, line(b"GET  / HTTP/1.1")),
        ("two-spaces-before-the-version", LINE, line(b"GET /  HTTP/1.1")),
        ("htab-as-separator", LINE, line(b"GET\t/ HTTP/1.1")),
        ("htab-before-the-version", LINE, line(b"GET /\tHTTP/1.1")),
        ("vt-as-separator", LINE, line(b"GET\x0b/ HTTP/1.1")),
        ("ff-as-separator", LINE, line(b"GET\x0c/ HTTP/1.1")),
        ("no-break-space-as-separator", LINE, line(b"GET\xa0/ HTTP/1.1")),
        ("leading-space", LINE, line(b" GET / HTTP/1.1")),
        ("leading-htab", LINE, line(b"\tGET / HTTP/1.1")),
        ("trailing-space", LINE, line(b"GET / HTTP/1.1 ")),
        ("trailing-htab", LINE, line(b"GET / HTTP/1.1\t")),
        ("four-words", LINE, line(b"GET / / HTTP/1.1")),
        ("one-word", LINE, line(b"GET")),
        ("no-method", LINE, line(b"/ HTTP/1.1")),
        ("method-with-at", LINE, line(b"G@T / HTTP/1.1")),
        ("method-with-colon", LINE, line(b"GET: / HTTP/1.1")),
        ("method-in-quotes", LINE, line(b'"GET" / HTTP/1.1')),
        ("method-with-a-bracket", LINE, line(b"GET( / HTTP/1.1")),
        ("method-with-obs-text", LINE, line(b"G\xc9T / HTTP/1.1")),
        ("method-of-65", LINE, line(b"M" * 65 + b" / HTTP/1.1")),
        ("endless-method", LINE, b"M" * 66),
        ("method-over-a-smaller-limit", LINE, line(b"GETS / HTTP/1.1"), {"max_method_bytes": 3}),
        ("field-line-first", LINE, b"Host: a\r\n\r\n"),
        ("tls-client-hello", LINE, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
    ),
    *accepted(
        "request-line",
        ("method-of-64", line(b"M" * 64 + b" / HTTP/1.1"), Seen(b"M" * 64)),
        ("method-in-lower-case", line(b"get / HTTP/1.1"), Seen(b"get")),
        (
            "method-of-a-programs-own",
            line(b"!#$%&'*+-.^_`|~9 / HTTP/1.1"),
            Seen(b"!#$%&'*+-.^_`|~9"),
        ),
    ),
    ServerCase(
        id="method-that-the-program-refuses",
        rule="request-line",
        sends=(line(b"BREW / HTTP/1.1"),),
        gets=(501,),
        seen=(Seen(b"BREW"),),
        program="not implemented",
    ),
]

RAW = bytes(set(range(0x21, 0x7F)) - set(b"#"))
TARGETS = [
    *accepted(
        "target",
        ("every-octet-in-a-path", line(b"GET /" + RAW + b" HTTP/1.1"), Seen(target=b"/" + RAW)),
        ("every-octet-in-a-query", line(b"GET /?" + RAW + b" HTTP/1.1"), Seen(target=b"/?" + RAW)),
        ("bad-percent-encoding", line(b"GET /%zz%0 HTTP/1.1"), Seen(target=b"/%zz%0")),
        ("dots-and-slashes", line(b"GET //a/../%2e%2F HTTP/1.1"), Seen(target=b"//a/../%2e%2F")),
        ("options-of-a-path", line(b"OPTIONS /x HTTP/1.1"), Seen(b"OPTIONS", b"/x")),
    ),
    *refused(
        "target",
        400,
        ("space", LINE, line(b"GET /a b HTTP/1.1")),
        ("non-ascii", TARGET, line(b"GET /\xc3\xa9 HTTP/1.1")),
        ("fragment", TARGET, line(b"GET /a#b HTTP/1.1")),
        ("fragment-in-a-query", TARGET, line(b"GET /a?b#c HTTP/1.1")),
        ("fragment-alone", TARGET, line(b"GET # HTTP/1.1")),
        ("relative-path", TARGET, line(b"GET path HTTP/1.1")),
        ("query-alone", TARGET, line(b"GET ?a HTTP/1.1")),
        ("dot", TARGET, line(b"GET . HTTP/1.1")),
        ("asterisk-with-get", TARGET, line(b"GET * HTTP/1.1")),
        ("asterisk-and-more", TARGET, line(b"OPTIONS *x HTTP/1.1")),
        ("authority-with-get", TARGET, line(b"GET a:80 HTTP/1.1")),
        ("connect-of-a-path", HOST, line(b"CONNECT / HTTP/1.1")),
        ("connect-of-a-uri", HOST, line(b"CONNECT http://a:80/ HTTP/1.1")),
        ("connect-of-an-asterisk", TARGET, line(b"CONNECT * HTTP/1.1")),
        ("connect-without-port", TARGET, line(b"CONNECT a HTTP/1.1")),
        ("connect-with-an-empty-port", TARGET, line(b"CONNECT a: HTTP/1.1")),
        ("connect-of-port-0", HOST, line(b"CONNECT a:0 HTTP/1.1")),
        ("connect-of-port-65536", HOST, line(b"CONNECT a:65536 HTTP/1.1")),
        ("connect-with-user-information", HOST, line(b"CONNECT me@a:80 HTTP/1.1")),
        ("connect-with-a-path", HOST, line(b"CONNECT a:80/ HTTP/1.1")),
        ("connect-of-nobody", HOST, line(b"CONNECT :80 HTTP/1.1")),
    ),
    *refused(
        "target-length",
        414,
        ("one-too-long", "TargetTooLongError", line(b"GET /" + b"a" * 8192 + b" HTTP/1.1")),
        ("endless", "TargetTooLongError", b"GET /" + b"a" * 8193),
        ("smaller-limit", "TargetTooLongError", line(b"GET /ab HTTP/1.1"), {"max_target_bytes": 2}),
    ),
    *accepted(
        "target-length",
        (
            "at-the-limit",
            line(b"GET /" + b"a" * 8191 + b" HTTP/1.1"),
            Seen(target=b"/" + b"a" * 8191),
        ),
    ),
]

VERSIONS = [
    *accepted(
        "version",
        *[(f"1.{n}", line(b"GET / HTTP/1.%d" % n), GET) for n in (1, 2, 5, 9)],
    ),
    *refused(
        "version",
        400,
        *[
            (name, LINE, line(b"GET / " + version))
            for name, version in [
                ("lower-case", b"http/1.1"),
                ("mixed-case", b"Http/1.1"),
                ("no-minor", b"HTTP/1"),
                ("empty-minor", b"HTTP/1."),
                ("no-dot", b"HTTP/11"),
                ("two-digits", b"HTTP/1.10"),
                ("leading-zero", b"HTTP/01.1"),
                ("comma", b"HTTP/1,1"),
                ("sign", b"HTTP/+1.1"),
                ("three-parts", b"HTTP/1.1.1"),
                ("letters", b"HTTP/a.b"),
                ("superscript", b"HTTP/1.\xb9"),
                ("other-protocol", b"HTCPCP/1.0"),
                ("space-inside", b"HTTP /1.1"),
                ("0.9", b"HTTP/0.9"),
                ("2", b"HTTP/2"),
                ("10.0", b"HTTP/10.0"),
            ]
        ],
        ("missing", LINE, b"GET /\r\n\r\n"),
        ("missing-but-its-space", LINE, b"GET / \r\n\r\n"),
    ),
    *refused(
        "version",
        505,
        ("1.1-no-more", VERSION, line(b"GET / HTTP/2.0")),
        ("9.9", VERSION, line(b"GET / HTTP/9.9")),
        ("preface-of-http2", VERSION, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ),
]

V10 = Seen(fields=())
HOSTS = [
    *refused(
        "host",
        400,
        ("none", "HostRequiredError", head(b"GET / HTTP/1.1")),
        ("none-in-1.2", "HostRequiredError", head(b"GET / HTTP/1.2", b"Hosts: a")),
        ("two-the-same", HOST, host(b"a", b"a")),
        ("two-that-differ", HOST, host(b"a", b"b")),
        ("two-in-1.0", HOST, host(b"a", b"a", version=b"1.0")),
        ("two-spelled-otherwise", HOST, head(b"GET / HTTP/1.1", b"Host: a", b"hOsT: a")),
        *[
            (name, HOST, host(value))
            for name, value in [
                ("empty", b""),
                ("white-space-only", b" \t"),
                ("user-information", b"me@a"),
                ("path", b"a/b"),
                ("slash", b"a/"),
                ("empty-label", b"a..b"),
                ("empty-label-in-front", b".a"),
                ("empty-label-behind", b"a.."),
                ("query", b"a?b"),
                ("fragment", b"a#b"),
                ("uri", b"http://a/"),
                ("list", b"a, b"),
                ("list-without-space", b"a,b"),
                ("space-inside", b"a b"),
                ("htab-inside", b"a\tb"),
                ("backslash", b"a\\b"),
                ("quotes", b'"a"'),
                ("non-ascii", b"\xc3\xa9"),
                ("half-an-encoded-octet", b"a%2"),
                ("no-encoded-octet", b"a%zz"),
                ("port-alone", b":80"),
                ("port-0", b"a:0"),
                ("port-65536", b"a:65536"),
                ("port-with-a-sign", b"a:+80"),
                ("port-with-a-space", b"a: 80"),
                ("port-of-letters", b"a:http"),
                ("port-twice", b"a:80:80"),
                ("ipv6-without-brackets", b"::1"),
                ("ipv6-without-its-end", b"[::1"),
                ("ipv6-with-a-zone", b"[::1%25eth0]"),
                ("ipv6-and-more", b"[::1]a"),
                ("brackets-around-a-name", b"[a]"),
            ]
        ],
        ("empty-in-1.0", HOST, host(b"", version=b"1.0")),
    ),
    *accepted(
        "host",
        *[
            (name, host(value), Seen(fields=((b"Host", value),)))
            for name, value in [
                ("port", b"a:8080"),
                ("final-dot", b"a.b."),
                ("empty-port", b"a:"),
                ("ipv4", b"127.0.0.1:80"),
                ("ipv6", b"[::1]:80"),
                ("ip-of-the-future", b"[v1.a]"),
                ("encoded-octet", b"a%20b"),
                ("underscore", b"a_b.example"),
                ("trailing-dot", b"a.example."),
            ]
        ],
    ),
    ServerCase(
        id="none-in-1.0",
        rule="host",
        sends=(head(b"GET / HTTP/1.0"),),
        gets=(200,),
        then=CLOSED,
        seen=(V10,),
    ),
]

ABSOLUTE = [
    *accepted(
        "absolute",
        *[
            (
                name,
                head(b"GET " + uri + b" HTTP/1.1", b"Host: a"),
                Seen(target=uri, fields=((b"Host", value),)),
            )
            for name, uri, value in [
                ("replaces-host", b"http://b/x", b"b"),
                ("with-a-port", b"http://b:81/x", b"b:81"),
                ("without-a-path", b"http://b", b"b"),
                ("with-a-query-only", b"http://b?x=/y", b"b"),
                ("scheme-in-upper-case", b"HTTP://b/", b"b"),
                ("ipv6", b"http://[::1]:80/", b"[::1]:80"),
                ("at-in-the-path", b"http://b/me@c", b"b"),
            ]
        ],
        (
            "in-the-place-of-host",
            head(b"GET http://b/ HTTP/1.1", b"B: c", b"hOST: a", b"D: e"),
            Seen(target=b"http://b/", fields=((b"B", b"c"), (b"hOST", b"b"), (b"D", b"e"))),
        ),
        (
            "the-same-but-for-case-and-port",
            head(b"GET http://A:80/ HTTP/1.1", b"Host: a"),
            Seen(target=b"http://A:80/"),
            {"refuse_host_mismatch": True},
        ),
    ),
    *refused(
        "absolute",
        400,
        *[
            (name, error, head(b"GET " + uri + b" HTTP/1.1", b"Host: a"))
            for name, error, uri in [
                ("user-information", HOST, b"http://me@a/"),
                ("user-and-password", HOST, b"http://me:pw@a/"),
                ("empty-authority", HOST, b"http:///x"),
                ("no-authority", TARGET, b"http:/x"),
                ("bad-port", HOST, b"http://a:b/"),
                ("list-of-hosts", HOST, b"http://a,b/"),
                ("bad-ipv6", HOST, b"http://[::1/"),
                ("bad-scheme", TARGET, b"1http://a/"),
                ("empty-scheme", TARGET, b"://a/"),
                ("other-scheme", TARGET, b"ftp://a/x"),
                ("scheme-of-a-unix-socket", TARGET, b"http+unix://%2Ftmp%2Fa/x"),
                ("fragment", TARGET, b"http://a/#b"),
                ("non-ascii", TARGET, b"http://a/\xe9"),
            ]
        ],
        ("without-host", "HostRequiredError", head(b"GET http://a/ HTTP/1.1")),
        ("with-a-bad-host", HOST, head(b"GET http://a/ HTTP/1.1", b"Host: b@c")),
        ("with-two-hosts", HOST, head(b"GET http://a/ HTTP/1.1", b"Host: a", b"Host: a")),
        (
            "mismatch",
            HOST,
            head(b"GET http://b/ HTTP/1.1", b"Host: a"),
            {"refuse_host_mismatch": True},
        ),
        (
            "mismatch-of-ports",
            HOST,
            head(b"GET http://a:81/ HTTP/1.1", b"Host: a"),
            {"refuse_host_mismatch": True},
        ),
    ),
    *refused(
        "absolute",
        421,
        *[
            (name, "MisdirectedRequestError", head(b"GET " + uri + b" HTTP/1.1", b"Host: a"))
            for name, uri in [("https", b"https://a/x"), ("https-in-upper-case", b"HTTPS://a")]
        ],
    ),
    ServerCase(
        id="without-host-in-1.0",
        rule="absolute",
        sends=(head(b"GET http://b/x HTTP/1.0"),),
        gets=(200,),
        then=CLOSED,
        seen=(Seen(target=b"http://b/x", fields=((b"Host", b"b"),)),),
    ),
]

ASTERISK = accepted("asterisk", ("options", line(b"OPTIONS * HTTP/1.1"), Seen(b"OPTIONS", b"*")))

STRICT = refused(
    "strict-target",
    400,
    *[
        (name, TARGET, line(b"GET /a?b=" + octets + b" HTTP/1.1"), {"strict_target": True})
        for name, octets in [
            ("bad-escape", b"%zz"),
            ("half-an-escape", b"%4"),
            ("angle-brackets", b"<b>"),
            ("braces", b"{b}"),
            ("bar", b"|"),
            ("quotes", b'"'),
            ("backslash", b"\\"),
        ]
    ],
)

CASES = [*REQUEST_LINE, *TARGETS, *STRICT, *VERSIONS, *HOSTS, *ABSOLUTE, *ASTERISK]
