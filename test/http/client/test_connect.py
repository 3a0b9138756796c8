"""What becomes of a request whose connection cannot be made."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from client_support import HELLO_EVENTS, ClientHarness

from thor.http import error as errors

MakeHarness = Callable[..., ClientHarness]


@pytest.mark.parametrize(
    ("failure", "kind", "attempts"),
    [
        pytest.param(
            (ConnectionRefusedError, errno.ECONNREFUSED), errors.ConnectError, 3, id="refused"
        ),
        pytest.param((OSError, errno.EHOSTUNREACH), errors.ConnectError, 3, id="unreachable"),
        pytest.param(
            (TimeoutError, errno.ETIMEDOUT), errors.ConnectTimeoutError, 1, id="timed-out"
        ),
        pytest.param((socket.gaierror, socket.EAI_NONAME), errors.DnsError, 1, id="no-such-name"),
        pytest.param((socket.gaierror, socket.EAI_AGAIN), errors.DnsError, 1, id="no-resolver"),
    ],
)
def test_how_connecting_fails(
    stage: ClientHarness, failure: Any, kind: type[errors.HttpError], attempts: int
) -> None:
    stage.network.errors["gone", 80] = failure
    tried: list[Any] = []
    network_class = stage.client.tcp_client_class

    class Counting(network_class):  # type: ignore[misc, valid-type]
        def connect(self, *args: Any) -> None:
            tried.append(args)
            super().connect(*args)

    stage.client.tcp_client_class = Counting
    watched = stage.request(uri="http://gone/")
    stage.advance(1.1)
    assert watched.error.__class__ is kind
    assert "gone" in str(watched.error)
    assert tried == [("gone", 80, None)] * attempts


def test_a_name_that_is_not_found_is_told_in_words(stage: ClientHarness) -> None:
    class Failing(stage.network.tcp_client_class):  # type: ignore[misc, name-defined]
        def connect(self, *args: Any) -> None:
            self.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            self.loop.call_soon(self.emit, "connect_error", socket.gaierror, socket.EAI_NONAME)

    stage.client.tcp_client_class = Failing
    watched = stage.request(uri="http://gone/")
    stage.settle()
    assert watched.error.detail == "gone port 80: Name or service not known"


@pytest.mark.parametrize(
    ("kind", "found"),
    [(ssl.SSLError, errors.TlsError), (LookupError, errors.ConnectError)],
)
def test_errors_of_other_kinds(
    stage: ClientHarness, kind: Any, found: type[errors.HttpError]
) -> None:
    """A client class may report what it likes, such as a reason of TLS."""

    class Failing(stage.network.tcp_client_class):  # type: ignore[misc, name-defined]
        def connect(self, *args: Any) -> None:
            self.loop.call_soon(self.emit, "connect_error", kind, "what it was")

    stage.client.tcp_client_class = Failing
    stage.client.retry_limit = 0
    error = stage.request().error
    assert error.__class__ is found
    assert error.detail == "origin port 80: what it was"


def test_an_address_that_is_refused(stage: ClientHarness) -> None:
    asked: list[str] = []
    stage.client.check_ip = asked.append  # type: ignore[assignment]
    assert isinstance(stage.request().error, errors.AccessError)
    assert asked == ["origin"]
    assert stage.peers == []


def test_check_ip_that_is_coroutine_function_is_refused(stage: ClientHarness) -> None:
    async def refuse(address: str) -> bool:  # what it returns would be true for each address
        return False

    stage.client.check_ip = refuse  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"check_ip .* needs asyncio hosting"):
        stage.request()
    assert stage.peers == []


def test_an_address_that_is_allowed(stage: ClientHarness) -> None:
    stage.client.check_ip = lambda address: address == "origin"
    assert stage.answer(stage.request()).events == HELLO_EVENTS


def test_a_check_that_raises_refuses(stage: ClientHarness, expected_logs: Any) -> None:
    stage.loop.on_exception = "log"
    stage.client.retry_limit = 0

    class Checking(stage.network.tcp_client_class):  # type: ignore[misc, name-defined]
        def connect(self, *args: Any) -> None:
            self.loop.call_soon(self._ask)

        def _ask(self) -> None:
            try:
                self.check_ip("10.0.0.1")
            except ZeroDivisionError as exc:
                self.loop.report_exception(self.check_ip, exc)
            self.emit("connect_error", OSError, errno.EACCES)

    stage.client.tcp_client_class = Checking
    stage.client.check_ip = lambda address: bool(1 / 0)
    assert isinstance(stage.request().error, errors.AccessError)


def test_one_address_refused_and_the_other_out_of_order_is_no_refusal(stage: ClientHarness) -> None:
    stage.client.retry_limit = 0

    class Trying(stage.network.tcp_client_class):  # type: ignore[misc, name-defined]
        def connect(self, *args: Any) -> None:
            assert not self.check_ip("10.0.0.1")
            assert self.check_ip("192.0.2.1")
            self.loop.call_soon(self.emit, "connect_error", OSError, errno.ECONNREFUSED)

    stage.client.tcp_client_class = Trying
    stage.client.check_ip = lambda address: address != "10.0.0.1"
    assert stage.request().error.__class__ is errors.ConnectError
