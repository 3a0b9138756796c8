"""Known attacks: each is read in two ways by somebody.

Owns: bytes, by the name of what is wrong in them. Every run of the suite tries all of them, and
coverage-guided fuzzing starts from them.
"""

from __future__ import annotations

from fuzz_disagreements import TABLE

_GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_EMPTY = b"0\r\n\r\n"
_NEXT = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n"

REQUESTS = {
    "length-and-chunked": _POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _EMPTY,
    "unknown-coding": _POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello",
    "coding-behind-vt": _POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + _EMPTY,
    "folded-name": _POST + b"Transfer-Encoding\r\n : chunked\r\n\r\n" + _EMPTY,
    "two-lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "space-before-colon": _POST + b"Content-Length : 5\r\n\r\nhello",
    "line-feed-in-extension": _CHUNKED + b"5;\n\nhello\r\n" + _EMPTY,
    "line-in-quoted-extension": _CHUNKED + b'5;a="\r\nhello\r\n0\r\n\r\n' + _NEXT,
    "data-longer-than-its-chunk": _CHUNKED + b"5\r\nhelloX\r\n" + _EMPTY,
    "what-follows-trailers": _CHUNKED + b"0\r\nA: b\r\n\r\nGET /",
    "bad-chunk-size": _CHUNKED + b"1\r\nZ\r\nQ\r\n\r\n",
    "huge-chunk-size": _CHUNKED + b"10000000000000005\r\nhello\r\n" + _EMPTY,
    "bare-cr": _GET + b"X: y\rContent-Length: 5\r\n\r\nhello",
    "bare-lf": b"GET / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
    "target-and-host": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "fold-before-host": b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
    "empty-lines-and-close": b"\r\n\r\n" + _GET + b"Connection: close\r\n\r\n" + _NEXT,
    "persistent-1.0": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + _NEXT,
    "tunnel": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" + _NEXT,
    "nominated-length": _POST + b"Connection: content-length\r\nContent-Length: 1\r\n\r\na" + _NEXT,
    "upgrade-to-h2c": _GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + _NEXT,
    "expectation": _POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi" + _NEXT,
    "get-with-body": _GET + b"Content-Length: 60\r\n\r\n" + _NEXT,
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" + _NEXT,
}

RESPONSES = {
    "length-and-chunked": _OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + _EMPTY,
    "gzip-and-chunked": _OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _EMPTY,
    "repeated-length": _OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + _OK,
    "differing-lengths": _OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _OK,
    "switching": b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nmore",
    "chunked-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + _EMPTY,
    "trailers": _OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n",
    "truncated": _OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "not-modified": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello",
    "until-the-end": b"HTTP/1.1 200\r\n\r\nuntil the end",
    "folded": _OK + b"X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
    "bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "version-0.9": b"<html>HTTP/0.9</html>",
}

#: What other parsers read differently is worth a start, too.
for _entry in TABLE:
    _side = RESPONSES if _entry.example.startswith(b"HTTP/") else REQUESTS
    _side[_entry.name.lower().replace(" ", "-")] = _entry.example
