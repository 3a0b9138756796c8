"""The rules for a server: what each says, and where in the code it is kept.

Owns: the rules, by chapter. It is data: what a row means says `shapes.Rule`.
"""

from __future__ import annotations

from shapes import Rule

_LINE_AND_HEAD = [
    Rule(
        "line-ends",
        "2.2, 5",
        "A bare LF or CR, NUL or another control (but HTAB in a value) anywhere in a head: "
        "refused, 400.",
        "http/wire/scan.py",
    ),
    Rule(
        "empty-lines",
        "2.2",
        "Four empty lines before a request line are skipped (``max_empty_lines``); more are "
        "refused, 400.",
        "http/wire/reader.py",
    ),
    Rule(
        "first-space",
        "2.2",
        "White space before the first field: refused, 400.",
        "http/wire/fields.py",
    ),
    Rule(
        "request-line",
        "3",
        "One SP between the parts of a request line, none around it; a method is a token of up to "
        "64 octets. Else refused, 400. Which methods are known, the program says.",
        "http/wire/startline.py",
    ),
    Rule(
        "target-length",
        "3",
        "A target over its limit (``max_target_bytes``): refused, 414.",
        "http/wire/startline.py",
    ),
    Rule(
        "target",
        "3.2",
        "A target is in one of the four forms, as its method allows; no fragment, no user "
        "information. Else refused, 400. In a path or query every visible ASCII octet but ``#`` is "
        "passed on as it came.",
        "http/wire/target.py",
    ),
    Rule(
        "version",
        "2.3",
        "``HTTP/1.2`` to ``1.9`` count as 1.1 (RFC 9110 section 2.5); 2.0 and above: refused, 505; "
        "anything else: refused, 400.",
        "http/wire/startline.py",
    ),
    Rule(
        "host",
        "3.2",
        "One valid Host in HTTP/1.1. None, several, an empty or a malformed one: refused, 400. "
        "HTTP/1.0 may go without.",
        "http/wire/head.py",
    ),
    Rule(
        "absolute",
        "3.2.2",
        "The authority of an absolute target replaces Host. Where they differ it can be refused "
        "(``refuse_host_mismatch``). A scheme other than http and https: 400. https that did not "
        "come by TLS, to here or to a peer that is trusted to say so: 421 (RFC 9110 7.4); http by "
        "TLS is accepted.",
        "http/wire/head.py",
    ),
    Rule(
        "strict-target",
        "3.2",
        "With ``strict_target``, a target that does not keep to RFC 3986 is refused, 400. It is "
        "off by default, since browsers send some.",
        "http/wire/target.py",
    ),
    Rule(
        "trace",
        "RFC 9110 9.3.8",
        "A TRACE request with content is refused, 400.",
        "http/wire/framing.py",
    ),
    Rule("asterisk", "3.2.4", "``OPTIONS *`` is given to the program.", "http/wire/target.py"),
    Rule(
        "names",
        "5.1",
        "A field name is a token, with nothing between it and the colon. Else refused, 400.",
        "http/wire/fields.py",
    ),
    Rule(
        "folds",
        "5.2",
        'A folded line: refused, 400; replaced by one SP with ``fold = "unfold"``, but never on '
        "the first line, and never in Host, Content-Length or Transfer-Encoding.",
        "http/wire/fields.py",
    ),
    Rule(
        "obs-text",
        "RFC 9110 5.5",
        "The octets 0x80 to 0xFF in a value are accepted, and passed on as they are.",
        "http/wire/grammar.py",
    ),
    Rule(
        "limits",
        "RFC 6585 5",
        "A head, a field or a number of fields over its limit: refused, 431.",
        "http/wire/scan.py",
    ),
    Rule(
        "expect",
        "RFC 9110 10.1.1",
        "An expectation other than ``100-continue``: 417.",
        "http/wire/head.py",
    ),
    Rule(
        "head-time",
        "RFC 9110 15.5.9",
        "A head that is not complete in time: 408; its time is a deadline that no byte extends. "
        "If no byte of it came: closed, without a word.",
        "http/http1/server_timeouts.py",
    ),
]

_FRAMING = [
    Rule(
        "coding-and-length",
        "6.1, 6.3",
        "Transfer-Encoding with Content-Length, or in HTTP/1.0: refused, 400.",
        "http/wire/framing.py",
    ),
    Rule(
        "coding",
        "6.1, 7",
        "Chunked that is not last, repeated, with parameters, or spelled otherwise (but for case): "
        "refused, 400. Another coding before it: refused, 501.",
        "http/wire/framing.py",
    ),
    Rule(
        "length",
        "6.2, 6.3",
        "Content-Length is one row of up to 19 ASCII digits, at most 2\\ :sup:`63`\\ -1. Else "
        "refused, 400; repeated too, though it says the same (the RFC permits to fold that). "
        "Nothing is allocated from it. CONNECT has no content.",
        "http/wire/framing.py",
    ),
    Rule(
        "any-method",
        "RFC 9110 9.3.1",
        "A body on GET, HEAD, DELETE and any other method is read, framed, and given to the "
        "program.",
        "http/wire/framing.py",
    ),
    Rule(
        "chunk-size",
        "7.1",
        "A chunk's size is up to 16 hexadecimal digits and nothing else, of the last one zeros. "
        "Else refused, 400.",
        "http/wire/body.py",
    ),
    Rule(
        "chunk-end", "7.1", "A chunk's data ends with CRLF. Else refused, 400.", "http/wire/body.py"
    ),
    Rule(
        "chunk-extensions",
        "7.1.1",
        "Chunk extensions are well-formed, bounded (4 KiB a chunk, 64 KiB a message), ignored, and "
        "never forwarded. Else refused, 400.",
        "http/wire/body.py",
    ),
    Rule(
        "trailers",
        "7.1.2",
        "Trailers have the grammar and the limits of a head: 400, 431.",
        "http/wire/body.py",
    ),
    Rule(
        "forbidden-trailers",
        "RFC 9110 6.5.1",
        "Framing, routing and authentication fields among trailers are dropped; trailers are never "
        "merged into the head.",
        "http/wire/fields.py",
    ),
    Rule(
        "body-size",
        "RFC 9110 15.5.14",
        "A body over ``max_body_bytes``: 413, before the body where its length was declared.",
        "http/wire/body.py",
    ),
    Rule(
        "cut-off",
        "8",
        "A connection that ends in the middle of a body is an error; what came is never taken for "
        "whole.",
        "http/wire/reader.py",
    ),
    Rule(
        "body-time",
        "RFC 9110 15.5.9",
        "A body that stops, or comes slower than ``min_body_rate``: 408, and ``error`` on its "
        "exchange.",
        "http/http1/server_timeouts.py",
    ),
]

_CONNECTIONS = [
    Rule(
        "persistence",
        "9.3",
        "Connections persist in HTTP/1.1 unless one side says ``close``; in 1.0 where the client "
        "says ``keep-alive`` and the length is known.",
        "http/wire/head.py",
    ),
    Rule(
        "close",
        "9.6",
        "A request after ``Connection: close`` is ignored.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "pipelining",
        "9.3.2",
        "Pipelined requests are answered in order; what is beyond a bound waits with the client.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "bad-behind-good",
        "9.3.2, 9.6",
        "A bad request behind good ones is answered after them, and nothing behind it.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "half-close",
        "9.6",
        "What was asked before a FIN is answered in full, then the connection is closed; if "
        "nothing can be sent for ``half_close_timeout``, it is reset. A reset is told at once.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "lingering",
        "9.6",
        "After the last answer what still arrives is read and dropped for 2 seconds or 64 KiB "
        "(``linger_timeout``, ``linger_bytes``), so that the answer is not lost to a reset.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "graceful",
        "9.6",
        "A graceful shutdown answers what is in flight with ``Connection: close``. An idle client "
        "has ``drain_idle_timeout`` for one more request, which is answered so, too.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "continue",
        "RFC 9110 10.1.1",
        "``100 Continue`` is sent when the program reads, never to HTTP/1.0; a final answer "
        "instead closes the connection, unless the body was sent.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "early-answer",
        "9.6",
        "After an answer that came before the body, the body is read and dropped, up to "
        "``drain_bytes``. If more is to come, or nobody knows how much, the answer says that the "
        "connection will be closed, unless the program reads.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "upgrade",
        "RFC 9110 7.8",
        "An Upgrade is the program's to take; one with no taker, or from HTTP/1.0, is ignored. "
        "Bytes that came with the request are the new protocol's first.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "connect",
        "RFC 9110 9.3.6",
        "CONNECT with no taker: 405, and the connection is closed; a tunnel is opened by "
        "``upgrade()`` only.",
        "http/http1/server_connection.py",
    ),
    Rule(
        "program-time",
        "RFC 9110 15.6.5",
        "A program that does not answer in time (``response_timeout``): 504. Time in which it has "
        "paused counts against nobody.",
        "http/http1/server_timeouts.py",
    ),
    Rule(
        "send-time",
        "9.5",
        "A client that reads nothing of its answer for ``send_timeout`` is reset.",
        "http/http1/server_timeouts.py",
    ),
    Rule(
        "tls",
        "9.7",
        "After a TLS record that is none the alert is sent, then the connection is closed; nothing "
        "reaches the program.",
        "tls/handshake.py",
    ),
]

_SERVER_OUTPUT = [
    Rule(
        "bad-output",
        "5, 11.1",
        "A bad status, phrase, name or value, CR, LF, NUL, another control: an error in the "
        "program before a byte of it leaves.",
        "http/wire/writer.py",
    ),
    Rule(
        "no-body",
        "6.3",
        "Responses to HEAD, and 204 and 304, have no body, whatever the program writes.",
        "http/wire/writer.py",
    ),
    Rule(
        "out-framing",
        "6",
        "One Content-Length is kept, else chunks, else (to HTTP/1.0) until the connection closes. "
        "More or less than the declared length is an error, and the connection is reset.",
        "http/wire/writer.py",
    ),
    Rule(
        "out-fields",
        "RFC 9110 6.6.1, 7.6.1",
        "Fields that concern the connection, and those that Connection names, are dropped; they "
        "are made anew. Content-Length and Host cannot be named away. Date is added, once.",
        "http/wire/writer.py",
    ),
    Rule(
        "out-nonfinal",
        "RFC 9110 15.2",
        "Informational responses go to clients of HTTP/1.1 only.",
        "http/server/exchange.py",
    ),
]

CHAPTERS = {
    "Requests: line and head": _LINE_AND_HEAD,
    "Requests: framing": _FRAMING,
    "Connections and time": _CONNECTIONS,
    "What a server sends": _SERVER_OUTPUT,
}
