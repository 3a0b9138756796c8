"""What a program sees of a request that is refused: `refused`, the log, and the order of responses.

Which requests are refused, and how, is in the tables of test/conformance.
"""

from __future__ import annotations

from typing import Any

from server_support import (
    HELLO,
    ServerHarness,
    answering,
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


CHUNKED_POST = post("Transfer-Encoding: chunked")


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


def test_a_bad_rest_of_a_body_after_the_response_closes_and_is_no_error(expected_logs: Any) -> None:
    stage = ServerHarness(answering)
    client = stage.client().send(CHUNKED_POST, b"X\r\n")
    assert [record.levelname for record in expected_logs.records] == ["INFO"]
    assert client.take() == HELLO
    assert client.is_ended
    assert stage.events() == [stage.events()[0], ("done", None)]


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
