"""What is sent: framing, connection fields, and that a program's fields say nothing else."""

from __future__ import annotations

from collections import UserDict
from itertools import product
from typing import Any, NamedTuple

import pytest
from wire_support import parts_of, read_requests, read_responses

from thor.http import error as errors
from thor.http.error import HttpError, OutputSyntaxError
from thor.http.wire import writer
from thor.http.wire.fields import FORBIDDEN_IN_TRAILERS
from thor.http.wire.framing import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from thor.http.wire.writer import (
    error_response,
    informational_head,
    last_chunk,
    request_head,
    response_head,
    switching_head,
)

DATE = b"Thu, 01 Jan 2026 00:00:00 GMT"


class Out(NamedTuple):
    """A head that is ready to be sent, its parts named."""

    data: bytes
    framing: int
    length: int
    keep_alive: bool


def respond(
    status: Any = 200,
    headers: Any = (),
    *,
    phrase: Any = "OK",
    method: bytes = b"GET",
    http11: bool = True,
    keep_alive: bool = True,
    date: bytes | None = None,
) -> Out:
    date_line = b"" if date is None else b"\r\nDate: " + date
    head = response_head(status, phrase, headers, method, http11, keep_alive, date_line)
    return Out(*parts_of(head))


def ask(
    method: Any = "GET",
    headers: Any = (),
    *,
    target: Any = "/",
    host: bytes = b"a",
    has_body: bool | None = False,
    upgrade: Any = None,
    te_trailers: bool = False,
    keep_alive: bool = True,
) -> Out:
    head = request_head(
        method,
        target,
        headers,
        host=host,
        has_body=has_body,
        upgrade=upgrade,
        te_trailers=te_trailers,
        keep_alive=keep_alive,
    )
    return Out(*parts_of(head))


def lines_of(data: bytes) -> list[bytes]:
    assert data.endswith(b"\r\n\r\n")
    return data[:-4].split(b"\r\n")


# -- what a program passes


def test_documented_example_works_as_it_stands() -> None:
    out = respond(200, [("Content-Type", "text/plain")])
    assert out.data == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


def test_str_and_bytes_are_the_same() -> None:
    statuses, phrases = (404, "404", b"404"), ("Not Found", b"Not Found")
    fields = (("A", "b"), (b"A", b"b"), ("A", b"b"), (b"A", "b"))
    for status, phrase, field in (*product(statuses, phrases, fields),) * 2:  # then from the tables
        out = respond(status, [field, ("Content-Length", "0")], phrase=phrase)
        assert out.data == b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 0\r\n\r\n"


def test_text_is_latin_1() -> None:
    out = respond(200, [("A", "caf\xe9")], phrase="\xe4")
    assert lines_of(out.data)[:2] == [b"HTTP/1.1 200 \xe4", b"A: caf\xe9"]


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    out = respond(200, [("A", " \t b \t c \t"), (b"D", b" "), ("Content-Length", " 3 ")])
    assert lines_of(out.data)[1:] == [b"A: b \t c", b"D: ", b"Content-Length: 3"]
    assert out.length == 3


def test_order_case_and_repetition_are_kept() -> None:
    fields = [(b"b", b"1"), (b"A", b"2"), (b"B", b"3"), (b"Content-length", b"0"), (b"a", b"2")]
    out = respond(200, fields)
    assert lines_of(out.data)[1:] == [b"%b: %b" % field for field in fields]


def test_phrase_may_be_empty() -> None:
    assert respond(204, phrase="").data == b"HTTP/1.1 204 \r\n\r\n"


BAD_VALUES = {
    "CR": "a\rb",
    "LF": "a\nb",
    "CRLF and a field": "a\r\nSet-Cookie: x",
    "CRLF at the end": "a\r\n",
    "CRLF at the start": "\r\na",
    "fold": "a\r\n b",
    "NUL": "a\x00b",
    "VT": "a\x0b",
    "FF at the end": "a\x0c",
    "escape": "\x1b[2J",
    "DEL": "a\x7f",
    "not Latin-1": "\u2013",
    "line separator": "\u2028",
}

BAD_NAMES = {
    "empty": "",
    "space": "a b",
    "space at the end": "a ",
    "space at the start": " a",
    "colon": "a:b",
    "CRLF": "a\r\nb",
    "CR": "a\r",
    "LF": "a\n",
    "NUL": "a\x00",
    "tab": "a\tb",
    "quotes": '"a"',
    "not ASCII": "\xe9",
    "not Latin-1": "\u212a",
    "DEL": "a\x7f",
}


def senders(field: Any) -> list[Any]:
    return [
        lambda: respond(200, [("A", "b"), field, ("C", "d")]),
        lambda: respond(426, [field], phrase="x"),
        lambda: respond(200, [field], method=b"HEAD"),
        lambda: ask("GET", [("A", "b"), field]),
        lambda: informational_head(103, "Early Hints", [field]),
        lambda: switching_head("x", [field]),
        lambda: last_chunk([field]),
    ]


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_bad_value_is_refused_before_a_byte_is_made(value: str) -> None:
    octets = value.encode("utf-8") if ord(max(value)) < 256 else b"\n"
    for field in product(("X", "Date"), (value, octets)):
        for send in senders(field):
            with pytest.raises(OutputSyntaxError):
                send()


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00", "\u2603"])
@pytest.mark.parametrize("name", ["Connection", "Upgrade", "Host", "Content-Length", "TE"])
def test_bad_value_of_a_field_that_is_not_passed_on_is_refused(name: str, value: str) -> None:
    with pytest.raises(OutputSyntaxError):
        respond(200, [(name, value)])
    with pytest.raises(OutputSyntaxError):
        ask("POST", [(name, value)])
    with pytest.raises(OutputSyntaxError):
        respond(426, [("Upgrade", "a"), (name, value)])


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_bad_name_is_refused(name: str) -> None:
    for send in senders((name, "b")) + senders((name.encode("utf-8"), "b")):
        with pytest.raises(OutputSyntaxError):
            send()


@pytest.mark.parametrize(
    "status",
    [
        0,
        99,
        1000,
        -200,
        "20",
        "2000",
        "abc",
        "+20",
        "2_0",
        " 200",
        "\u0662\u0660\u0660",
        b"",
        b"1e2",
    ],
)
def test_bad_status_is_refused(status: Any) -> None:
    with pytest.raises(OutputSyntaxError):
        respond(status)


@pytest.mark.parametrize("phrase", ["a\r\nX: y", "\x00", "a\n", "\x7f", "\u2013", b"\r"])
def test_bad_phrase_is_refused(phrase: Any) -> None:
    for _ in range(2):
        with pytest.raises(OutputSyntaxError):
            respond(200, phrase=phrase)


@pytest.mark.parametrize(
    "send",
    [
        lambda: respond(True),
        lambda: respond(None),
        lambda: respond(2.5),
        lambda: respond(phrase=None),
        lambda: respond(200, [("A", 1)]),
        lambda: respond(200, [("A", None)]),
        lambda: respond(200, [("A", bytearray(b"b"))]),
        lambda: respond(200, [(1, "b")]),
        lambda: respond(200, [("Connection", 1)]),
        lambda: respond(200, ["XY"]),
        lambda: respond(200, [b"XY"]),
        lambda: respond(200, ["XYZ"]),
        lambda: respond(200, {"XY"}),
        lambda: respond(200, [("A",)]),
        lambda: respond(200, [("A", "b", "c")]),
        lambda: respond(200, [None]),
        lambda: respond(200, [{"A", "b"}]),
        lambda: respond(200, [{"A": "b", "C": "d"}]),
        lambda: respond(200, "XY"),
        lambda: respond(200, 1),
        lambda: ask("GET", ["XY"]),
        lambda: last_chunk(["XY"]),  # type: ignore[list-item]
        lambda: ask(1),
        lambda: ask(target=None),
        lambda: ask(upgrade=1),
        lambda: last_chunk([("A", 1)]),  # type: ignore[list-item]
        lambda: last_chunk([(1, "A")]),  # type: ignore[list-item]
        lambda: switching_head(None, []),  # type: ignore[arg-type]
    ],
)
def test_wrong_type_is_a_type_error(send: Any) -> None:
    with pytest.raises(TypeError):
        send()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"XY": "secret", b"Z": b"1"}, id="mapping"),
        pytest.param([["XY", "secret"], ("Z", "1")], id="lists"),
        pytest.param((("XY", "secret"), ("Z", "1")), id="tuple"),
        pytest.param({"XY": "secret", "Z": "1"}.items(), id="items"),
        pytest.param(UserDict({"XY": "secret", "Z": "1"}), id="other-mapping"),
    ],
)
def test_fields_may_be_pairs_or_a_mapping(headers: Any) -> None:
    assert lines_of(respond(204, headers).data)[1:] == [b"XY: secret", b"Z: 1"]
    assert lines_of(ask("GET", headers).data)[2:] == [b"XY: secret", b"Z: 1"]
    assert last_chunk(headers) == b"0\r\nXY: secret\r\nZ: 1\r\n\r\n"


# -- hop by hop


HOP_BY_HOP = [
    ("Connection", "keep-alive"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "gzip"),
    ("Transfer-Encoding", "gzip, chunked"),
    ("Upgrade", "h2c"),
]


@pytest.mark.parametrize("field", HOP_BY_HOP, ids=lambda field: field[0])
def test_field_of_one_connection_is_dropped(field: tuple[str, str]) -> None:
    for name in (field[0], field[0].lower(), field[0].upper(), field[0].encode()):
        out = respond(200, [("A", "b"), (name, field[1]), ("Content-Length", "0")])
        assert lines_of(out.data)[1:] == [b"A: b", b"Content-Length: 0"]
        out = ask("GET", [("A", "b"), (name, field[1])])
        assert lines_of(out.data) == [b"GET / HTTP/1.1", b"Host: a", b"A: b"]
        assert informational_head(103, "x", [(name, field[1])]) == b"HTTP/1.1 103 x\r\n\r\n"


def test_nominated_fields_are_dropped_wherever_they_stand() -> None:
    fields = [
        ("X-One", "1"),
        ("Connection", "close, x-one"),
        ("x-two", "2"),
        ("Connection", "X-TWO , date"),
        ("Date", "now"),
        ("Three", "3"),
        ("Content-Length", "0"),
    ]
    out = respond(200, fields, date=DATE)
    assert lines_of(out.data)[1:] == [b"Three: 3", b"Content-Length: 0", b"Date: " + DATE]
    assert lines_of(ask("GET", fields).data)[2:] == [b"Three: 3", b"Content-Length: 0"]


def test_framing_and_routing_cannot_be_nominated() -> None:
    fields = [("Connection", "content-length, host"), ("Content-Length", "3"), ("Host", "b")]
    assert respond(200, fields).framing == LENGTH
    data = ask("POST", fields).data
    assert b"Host: b\r\n" in data
    assert b"Content-Length: 3\r\n" in data


def test_upgrade_is_kept_on_426() -> None:
    out = respond(426, [("Upgrade", "h2c"), ("Upgrade", "b/1"), ("Content-Length", "0")])
    assert lines_of(out.data)[1:] == [
        b"Content-Length: 0",
        b"Upgrade: h2c, b/1",
        b"Connection: upgrade",
    ]
    out = respond(426, [("Upgrade", "h2c"), ("Content-Length", "0")], keep_alive=False)
    assert lines_of(out.data)[-1] == b"Connection: close, upgrade"
    assert lines_of(respond(426, [("Content-Length", "0")]).data)[1:] == [b"Content-Length: 0"]


def test_proxy_authentication_is_not_dropped() -> None:
    assert b"Proxy-Authenticate: Basic" in respond(407, [("Proxy-Authenticate", "Basic")]).data


# -- framing of responses

NONE = b""
CL5 = b"Content-Length: 5"
TE = b"Transfer-Encoding: chunked"
CLOSE = b"Connection: close"
PERSIST = b"Connection: keep-alive"

# status, method, http11, keep_alive, Content-Length passed -> framing, length, keep_alive, lines
FRAMINGS: dict[str, Any] = {
    "length": (200, b"GET", True, True, "5", LENGTH, 5, True, [CL5]),
    "length 0": (200, b"GET", True, True, "0", LENGTH, 0, True, [b"Content-Length: 0"]),
    "chunked": (200, b"GET", True, True, None, CHUNKED, 0, True, [TE]),
    "length, last": (200, b"GET", True, False, "5", LENGTH, 5, False, [CL5, CLOSE]),
    "chunked, last": (200, b"GET", True, False, None, CHUNKED, 0, False, [TE, CLOSE]),
    "1.0, length": (200, b"GET", False, False, "5", LENGTH, 5, False, [CL5, CLOSE]),
    "1.0, length, persists": (200, b"GET", False, True, "5", LENGTH, 5, True, [CL5, PERSIST]),
    "1.0": (200, b"GET", False, False, None, UNTIL_CLOSE, 0, False, [CLOSE]),
    "1.0, would persist": (200, b"GET", False, True, None, UNTIL_CLOSE, 0, False, [CLOSE]),
    "HEAD, length": (200, b"HEAD", True, True, "5", NO_BODY, 0, True, [CL5]),
    "HEAD": (200, b"HEAD", True, True, None, NO_BODY, 0, True, []),
    "HEAD, 1.0": (200, b"HEAD", False, True, None, NO_BODY, 0, True, [PERSIST]),
    "HEAD, last": (200, b"HEAD", True, False, None, NO_BODY, 0, False, [CLOSE]),
    "204, length": (204, b"GET", True, True, "5", NO_BODY, 0, True, []),
    "204": (204, b"GET", True, True, None, NO_BODY, 0, True, []),
    "204, 1.0": (204, b"GET", False, True, None, NO_BODY, 0, True, [PERSIST]),
    "304, length": (304, b"GET", True, True, "5", NO_BODY, 0, True, [CL5]),
    "304": (304, b"GET", True, True, None, NO_BODY, 0, True, []),
    "205": (205, b"GET", True, True, "0", LENGTH, 0, True, [b"Content-Length: 0"]),
    "404": (404, b"GET", True, True, None, CHUNKED, 0, True, [TE]),
    "999": (999, b"GET", True, True, "5", LENGTH, 5, True, [CL5]),
    "1xx": (103, b"GET", True, True, "5", NO_BODY, 0, True, []),
    "CONNECT": (200, b"CONNECT", True, True, "5", NO_BODY, 0, True, []),
    "CONNECT, 1.0": (200, b"CONNECT", False, True, None, NO_BODY, 0, True, []),
    "CONNECT refused": (403, b"CONNECT", True, False, "5", LENGTH, 5, False, [CL5, CLOSE]),
}


@pytest.mark.parametrize("case", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_response_is_framed_and_read_as_it_was_meant(case: Any) -> None:
    status, method, http11, keep_alive, passed, framing, length, persists, lines = case
    headers = [] if passed is None else [("Content-Length", passed)]
    out = respond(status, headers, method=method, http11=http11, keep_alive=keep_alive)
    assert (out.framing, out.length, out.keep_alive) == (framing, length, persists)
    assert lines_of(out.data)[1:] == lines
    head = read_responses([out.data], [method]).messages[0].head
    assert (head.framing, head.length) == (framing, length)
    if http11:
        assert head.keep_alive is persists


@pytest.mark.parametrize(
    "values", [["5", "5"], ["5", "05"], [b"5", "5", "5"]], ids=["same", "same number", "three"]
)
def test_equal_lengths_collapse(values: list[Any]) -> None:
    out = respond(200, [("Content-Length", value) for value in values])
    assert out.length == 5
    assert out.data.count(b"Content-Length") == 1


@pytest.mark.parametrize(
    "values",
    [
        ["5", "6"],
        [""],
        ["-5"],
        ["+5"],
        ["5, 5"],
        ["0x5"],
        ["1_0"],
        ["\xb2"],
        ["9223372036854775808"],
        ["1" * 5000],
        ["5", ""],
    ],
    ids=repr,
)
def test_length_that_is_none_is_refused(values: list[str]) -> None:
    headers = [("Content-Length", value) for value in values]
    for method in (b"GET", b"HEAD"):
        with pytest.raises(OutputSyntaxError):
            respond(200, headers, method=method)
    with pytest.raises(OutputSyntaxError):
        ask("POST", headers, has_body=True)


# -- Date


def test_date_is_added_once() -> None:
    out = respond(204, [], date=DATE)
    assert lines_of(out.data)[1:] == [b"Date: " + DATE]
    out = respond(204, [("date", "x")], date=DATE)
    assert lines_of(out.data)[1:] == [b"date: x"]


def test_informational_response_has_no_date() -> None:
    assert lines_of(respond(103, [], date=DATE).data)[1:] == []


# -- informational responses and switches


def test_informational_response() -> None:
    data = informational_head(103, "Early Hints", [("Link", "</a>"), ("Content-Length", "3")])
    assert data == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


@pytest.mark.parametrize("status", [99, 101, 200, 204, "abc"])
def test_other_status_is_not_informational(status: Any) -> None:
    with pytest.raises(OutputSyntaxError):
        informational_head(status, "x", [])


@pytest.mark.parametrize("protocol", ["websocket", b"websocket", " websocket "])
def test_switch_of_protocols(protocol: Any) -> None:
    data = switching_head(protocol, [("Sec-WebSocket-Accept", "x"), ("Connection", "close")])
    assert lines_of(data) == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Sec-WebSocket-Accept: x",
        b"Connection: upgrade",
        b"Upgrade: websocket",
    ]


@pytest.mark.parametrize("protocol", ["", "a b", "a\r\nX: y", "a,b", "\u2013"])
def test_bad_protocol_is_refused(protocol: str) -> None:
    with pytest.raises(OutputSyntaxError):
        switching_head(protocol, [])
    with pytest.raises(OutputSyntaxError):
        ask(upgrade=protocol)


# -- requests

# method, has_body, Content-Length passed -> framing, length, lines
REQUESTS: dict[str, Any] = {
    "GET": ("GET", False, None, NO_BODY, 0, []),
    "GET, perhaps a body": ("GET", None, None, NO_BODY, 0, []),
    "GET with body": ("GET", True, None, CHUNKED, 0, [TE]),
    "GET with length": ("GET", True, "5", LENGTH, 5, [CL5]),
    "HEAD": ("HEAD", False, None, NO_BODY, 0, []),
    "DELETE": ("DELETE", False, None, NO_BODY, 0, []),
    "OPTIONS": ("OPTIONS", None, None, NO_BODY, 0, []),
    "POST": ("POST", False, None, NO_BODY, 0, [b"Content-Length: 0"]),
    "POST, perhaps a body": ("POST", None, None, CHUNKED, 0, [TE]),
    "POST with body": ("POST", True, None, CHUNKED, 0, [TE]),
    "POST with length": ("POST", True, "5", LENGTH, 5, [CL5]),
    "POST with length 0": ("POST", False, "0", LENGTH, 0, [b"Content-Length: 0"]),
    "PUT": ("PUT", False, None, NO_BODY, 0, [b"Content-Length: 0"]),
    "PATCH": (b"PATCH", False, None, NO_BODY, 0, [b"Content-Length: 0"]),
    "other method": ("PURGE", False, None, NO_BODY, 0, []),
    "other method, perhaps a body": ("PURGE", None, None, CHUNKED, 0, [TE]),
    "method in lower case": ("post", False, None, NO_BODY, 0, []),
}


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_request_is_framed(case: Any) -> None:
    method, has_body, passed, framing, length, lines = case
    headers = [("A", "b")] + ([] if passed is None else [("Content-Length", passed)])
    out = ask(method, headers, has_body=has_body)
    assert (out.framing, out.length) == (framing, length)
    assert lines_of(out.data)[1:] == [b"Host: a", b"A: b", *lines]
    read = read_requests([out.data]).messages[0].head
    assert read.framing == framing or (read.framing, read.length) == (LENGTH, 0)


def test_request_line_and_host_come_first() -> None:
    out = ask("GET", [("A", "b")], target="/x?y", host=b"h:8080")
    assert lines_of(out.data) == [b"GET /x?y HTTP/1.1", b"Host: h:8080", b"A: b"]


@pytest.mark.parametrize("host", ["b", b"b:81", "[::1]:8"])
def test_host_that_was_passed_is_sent_instead(host: Any) -> None:
    lines = lines_of(ask("GET", [("A", "b"), ("hOsT", host)]).data)
    expected = host if isinstance(host, bytes) else host.encode()
    assert lines[1:] == [b"Host: " + expected, b"A: b"]


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "a"), ("host", "a")],
        [("Host", "")],
        [("Host", "u@a")],
        [("Host", "a b")],
        [("Host", "a/b")],
        [("Host", "a:x")],
        [("Host", "a, b")],
    ],
    ids=repr,
)
def test_host_that_is_none_is_refused(headers: Any) -> None:
    with pytest.raises(OutputSyntaxError):
        ask("GET", headers)


@pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "GET:", "G\xc9T", "\u0130", b"\x00"])
def test_bad_method_is_refused(method: Any) -> None:
    with pytest.raises(OutputSyntaxError):
        ask(method)


@pytest.mark.parametrize(
    "target", ["", "/a b", "/a\r\nX: y", "/\t", "/\x00", "/\xe9", "/\u20ac", "/a#b", b"/\x7f"]
)
def test_bad_target_is_refused(target: Any) -> None:
    with pytest.raises(OutputSyntaxError):
        ask(target=target)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (dict(keep_alive=False), [b"Connection: close"]),
        (dict(upgrade=b"websocket"), [b"Upgrade: websocket", b"Connection: upgrade"]),
        (dict(upgrade="a/1"), [b"Upgrade: a/1", b"Connection: upgrade"]),
        (dict(te_trailers=True), [b"TE: trailers", b"Connection: TE"]),
        (
            dict(keep_alive=False, upgrade=b"x", te_trailers=True),
            [b"Upgrade: x", b"TE: trailers", b"Connection: close, upgrade, TE"],
        ),
    ],
    ids=repr,
)
def test_connection_fields_of_a_request(options: Any, lines: list[bytes]) -> None:
    out = ask("GET", [("TE", "gzip"), ("Upgrade", "y"), ("Connection", "x")], **options)
    assert lines_of(out.data)[2:] == lines
    assert out.keep_alive is options.get("keep_alive", True)
    head = read_requests([out.data]).only.head
    assert head.te_trailers is options.get("te_trailers", False)  # type: ignore[union-attr]
    assert bool(head.upgrade) is ("upgrade" in options)


def test_connect_has_no_content() -> None:
    out = ask("CONNECT", [("Content-Length", "3")], target="b:443", host=b"b:443")
    assert lines_of(out.data) == [b"CONNECT b:443 HTTP/1.1", b"Host: b:443"]
    assert out.framing == NO_BODY
    with pytest.raises(OutputSyntaxError):
        ask("CONNECT", [], target="b:443", has_body=True)


# -- trailers


def test_trailers_end_a_chunked_body() -> None:
    assert last_chunk([]) == last_chunk(None) == b"0\r\n\r\n"
    assert last_chunk([("A", "b"), (b"C", b" d ")]) == b"0\r\nA: b\r\nC: d\r\n\r\n"


def test_field_that_is_no_trailer_is_left_out() -> None:
    trailers = [(name.decode().title(), "1") for name in FORBIDDEN_IN_TRAILERS]
    assert last_chunk([*trailers, ("A", "b")]) == b"0\r\nA: b\r\n\r\n"


# -- answers to what cannot be accepted

ANSWERED = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, HttpError) and cls.server_status
]


@pytest.mark.pure_python
@pytest.mark.parametrize("cls", ANSWERED, ids=lambda cls: cls.__name__)
def test_error_is_answered_once_and_closes(cls: type[HttpError]) -> None:
    data = error_response(cls("<script>\r\nX: y"))
    assert cls.server_status is not None
    message = read_responses([data]).only
    assert message.complete
    assert (message.head.status, message.head.phrase) == cls.server_status  # type: ignore[union-attr]
    assert not message.head.keep_alive
    assert len(message.body) < 100
    assert b"script" not in data


def test_error_that_nobody_can_be_told_of_has_no_answer() -> None:
    assert error_response(errors.SendTimeoutError()) == b""


# -- tables


@pytest.mark.pure_python
def test_tables_stay_bounded_whatever_is_passed() -> None:
    names, lines = writer._name_cache, writer._status_line_cache
    names.clear()
    lines.clear()
    for i in range(3000):
        respond(200, [(f"N{i}", "1"), (f"{'n' * 60}{i}", "1")], phrase=f"p{i}")
    respond(200, phrase="p" * 100)
    assert 0 < len(names) <= 1024
    assert 0 < len(lines) <= 256
    assert not any(len(name) > 48 for name in names)
