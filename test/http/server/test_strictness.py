"""The server's reaction to a message that is wrong: a row for each status that it can have.

What is wrong with a head or a body is the wire's to find, and its tests have many more cases.
Here is what a client and a program see of it: one answer, a close, no exchange, `refused`; or,
where the exchange was there already, its `error`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from server_support import (
    HELLO,
    ServerHarness,
    answering,
    answering_done,
    request,
)

OK = b"HTTP/1.1 200 OK\r\n"

#: A request behind which the next one is looked for.
GOOD = request("/good")


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def with_field(field: str | bytes) -> bytes:
    octets = field.encode("latin-1") if isinstance(field, str) else field
    return b"GET / HTTP/1.1\r\nHost: origin\r\n" + octets + b"\r\n\r\n"


def post(*fields: str, body: bytes = b"") -> bytes:
    return head("POST / HTTP/1.1", "Host: origin", *fields) + body


def status_of(response: bytes) -> int:
    return int(response[9:12])


#: name -> (bytes, status). All are refused before there is an exchange.
HEADS: dict[str, tuple[bytes, int]] = {
    "bare-lf": (b"GET / HTTP/1.1\nHost: origin\n\n", 400),
    "target-too-long": (head("GET /" + "a" * 8192 + " HTTP/1.1", "Host: origin"), 414),
    "version-2.0": (head("GET / HTTP/2.0", "Host: origin"), 505),
    "http2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no-host": (head("GET / HTTP/1.1"), 400),
    "head-too-large": (
        head("GET / HTTP/1.1", "Host: origin", *[f"A{i}: " + "b" * 30000 for i in range(3)]),
        431,
    ),
    "te-and-cl": (post("Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    "te-gzip-chunked": (post("Transfer-Encoding: gzip, chunked"), 501),
    "expectation": (with_field("Expect: the-unexpected"), 417),
}

BODIES: dict[str, tuple[bytes, int]] = {
    "size-empty": (b"\r\n", 400),
    "extensions-too-long": ((b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 17, 400),
    "trailer-too-large": (b"0\r\nA: " + b"b" * 32768 + b"\r\n\r\n", 431),
}

CHUNKED_POST = post("Transfer-Encoding: chunked")


def assert_refused(stage: ServerHarness, client: Any, status: int) -> None:
    response = client.take()
    assert response.count(b"HTTP/1.1") == 1
    assert status_of(response) == status
    assert b"\r\nConnection: close\r\n" in response
    length = re.search(rb"Content-Length: (\d+)", response)
    assert length is not None
    assert len(response.partition(b"\r\n\r\n")[2]) == int(length[1])
    assert client.is_ended
    assert not client.is_reset


@pytest.mark.parametrize(("data", "status"), HEADS.values(), ids=HEADS.keys())
def test_a_head_with_no_one_reading_is_answered_once_and_the_connection_closed(
    data: bytes, status: int
) -> None:
    stage = ServerHarness(answering)
    client = stage.client()
    client.send(data)
    assert_refused(stage, client, status)
    assert stage.exchanges == []
    assert len(stage.refused) == 1
    client.close()
    assert stage.server.connections == []


@pytest.mark.parametrize("case", ["bare-lf", "te-and-cl", "version-2.0", "expectation"])
def test_a_bad_request_behind_good_ones_is_answered_after_them(case: str) -> None:
    data, status = HEADS[case]
    stage = ServerHarness(answering_done)
    client = stage.client().send(GOOD + GOOD + data)
    response = client.take()
    assert response.startswith(HELLO + HELLO)
    assert status_of(response[2 * len(HELLO) :]) == status
    assert len(stage.exchanges) == 2
    assert client.is_ended


def test_a_bad_request_waits_for_the_answers_before_it() -> None:
    stage = ServerHarness()
    client = stage.client().send(GOOD + HEADS["bare-lf"][0])
    assert client.take() == b""
    assert not client.is_closed
    stage.exchange.response_start(200, "OK", [])
    stage.exchange.response_body("slow")
    stage.exchange.response_done([])
    response = client.take()
    assert response.startswith(OK)
    assert b"\r\n0\r\n\r\nHTTP/1.1 400 " in response
    assert stage.names() == ["request_start", "request_done", "done"]


@pytest.mark.parametrize(("data", "status"), BODIES.values(), ids=BODIES.keys())
def test_a_body_with_no_one_reading_is_an_error_on_its_exchange(data: bytes, status: int) -> None:
    stage = ServerHarness()
    client = stage.client().send(CHUNKED_POST)
    client.send(data)
    assert_refused(stage, client, status)
    names = [name for name in stage.names() if name != "request_body"]
    assert names == ["request_start", "error", "close", "done"]
    assert stage.refused == []


def test_a_bad_body_after_the_response_was_started_resets_the_connection() -> None:
    stage = ServerHarness(lambda exchange: exchange.response_start(200, "OK", []))
    client = stage.client().send(CHUNKED_POST, b"X\r\n")
    assert client.take().startswith(OK)
    assert client.is_reset
    assert stage.names()[-3:] == ["error", "close", "done"]


def test_a_bad_rest_of_a_body_after_the_response_closes_and_is_no_error(expected_logs: Any) -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED_POST, b"X\r\n")
    assert [record.levelname for record in expected_logs.records] == ["INFO"]
    assert client.take() == HELLO
    assert client.is_ended
    assert stage.events() == [stage.events()[0], ("done", None)]


ACCEPTED: dict[str, tuple[bytes, bytes]] = {
    "four-empty-lines": (b"\r\n" * 4 + GOOD, HELLO),
    "chunk-extension": (
        post("Transfer-Encoding: chunked", body=b'5 ; a = "b" ;c\r\nhello\r\n0\r\n\r\n'),
        HELLO,
    ),
    "get-with-body": (request("/", body=b"hello"), HELLO),
    "upgrade-nobody-takes": (with_field("Connection: upgrade\r\nUpgrade: h2c"), HELLO),
}


@pytest.mark.parametrize(("data", "response"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_has_one_reading_is_accepted_and_the_connection_persists(
    data: bytes, response: bytes
) -> None:
    stage = ServerHarness(answering_done)
    client = stage.client()
    client.send(data)
    assert client.take() == response
    assert not client.is_closed
    assert stage.refused == []
    assert client.send(GOOD).take() == HELLO


def test_obs_text_is_passed_on_as_bytes() -> None:
    stage = ServerHarness(answering)
    stage.client().send(with_field(b"A: \xe9\xff"))
    assert stage.exchange.req_hdrs == [(b"Host", b"origin"), (b"A", b"\xe9\xff")]


def test_the_body_of_a_get_is_given_to_the_program() -> None:
    stage = ServerHarness(answering_done)
    stage.client().send(request("/", body=b"hello"))
    assert ("request_body", b"hello") in stage.events()


def test_the_authority_of_an_absolute_target_replaces_host() -> None:
    stage = ServerHarness(answering)
    stage.client().send(head("GET http://Other:81/x HTTP/1.1", "A: b", "host: origin", "C: d"))
    exchange = stage.exchange
    assert exchange.uri == b"http://Other:81/x"
    assert exchange.req_hdrs == [(b"A", b"b"), (b"host", b"Other:81"), (b"C", b"d")]
    assert exchange.host == b"Other:81"


def test_a_host_that_is_not_the_targets_can_be_refused() -> None:
    stage = ServerHarness(answering, refuse_host_mismatch=True)
    client = stage.client().send(head("GET http://ORIGIN:80/ HTTP/1.1", "Host: origin"))
    assert client.take() == HELLO
    client.send(head("GET http://other/ HTTP/1.1", "Host: origin"))
    assert_refused(stage, client, 400)


def test_http_1_0_needs_no_host() -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(head("GET / HTTP/1.0"))
    assert client.take().startswith(OK)
    assert stage.exchange.host == b""
    assert stage.exchange.req_version == b"1.0"


def test_folded_lines_can_be_unfolded_but_not_before_the_first_field() -> None:
    stage = ServerHarness(answering, fold="unfold")
    client = stage.client().send(with_field("A: b\r\n\t c"))
    assert client.take() == HELLO
    assert stage.exchange.req_hdrs[-1] == (b"A", b"b c")
    client.send(head("GET / HTTP/1.1", " Host: origin"))
    assert_refused(stage, client, 400)


def test_a_declared_length_over_the_limit_is_refused_before_the_body() -> None:
    stage = ServerHarness(answering_done, max_body_bytes=5)
    client = stage.client().send(post("Content-Length: 5", body=b"hello"))
    assert client.take() == HELLO
    client.send(post("Content-Length: 6"))
    assert_refused(stage, client, 413)
    assert stage.refused == ["ContentTooLargeError"]


def test_a_chunked_body_over_the_limit_is_an_error_on_its_exchange() -> None:
    stage = ServerHarness(max_body_bytes=5)
    client = stage.client().send(CHUNKED_POST, b"3\r\nabc\r\n3\r\ndef\r\n")
    assert_refused(stage, client, 413)
    assert stage.events()[1:] == [
        ("request_body", b"abc"),
        ("error", "ContentTooLargeError"),
        ("close",),
        ("done", "ContentTooLargeError"),
    ]


@pytest.mark.parametrize(
    "trailer", ["Content-Length: 3", "Transfer-Encoding: chunked", "Host: a", "Authorization: b"]
)
def test_forbidden_trailers_are_dropped_and_the_head_stays_as_it_was(trailer: str) -> None:
    stage = ServerHarness(answering_done)
    data = f"3\r\nabc\r\n0\r\nA: b\r\n{trailer}\r\n\r\n".encode()
    assert stage.client().send(CHUNKED_POST + data).take() == HELLO
    assert ("request_done", [(b"A", b"b")]) in stage.events()
    assert stage.exchange.req_hdrs == [(b"Host", b"origin"), (b"Transfer-Encoding", b"chunked")]


def test_a_refused_head_leaves_nothing_of_the_input_in_the_answer() -> None:
    client = ServerHarness().client().send(head("GET /<script> HTTP/9.9", "Evil: <b>"))
    response = client.take()
    assert b"script" not in response
    assert b"<b>" not in response


def test_a_refusal_has_a_date() -> None:
    client = ServerHarness(send_date=True).client().send(b"X\n")
    assert b"\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n" in client.take()


def test_refused_says_on_which_connection_and_why() -> None:
    stage = ServerHarness()
    told: list[tuple[Any, ...]] = []
    stage.server.remove_listeners("refused")
    stage.server.on("refused", lambda *args: told.append(args))
    client = stage.client().send(b"GET / HTTP/1.1\r\n\r\n")
    [(conn, error)] = told
    assert conn is stage.server_side(client)
    assert type(error).__name__ == "HostRequiredError"


def test_a_refusal_that_nobody_listens_for_is_logged_for_information(expected_logs: Any) -> None:
    stage = ServerHarness()
    stage.server.remove_listeners("refused")
    stage.client().send(b"GET / HTTP/1.1\r\n\r\n")
    [record] = expected_logs.records
    assert record.levelname == "INFO"
    assert "Host is missing" in record.getMessage()
