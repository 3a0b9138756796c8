"""The name in a client's hello: found wherever it is, and never ours to judge otherwise."""

from __future__ import annotations

import ssl

import pytest
from tls_support import trusting

from thor.tls.client_hello import CHANGE_CIPHER_SPEC, HANDSHAKE, ServerNameCheck, server_name

NAME = "name-to-be-replaced.test"
#: As many bytes, in UTF-8.
STRANGE = "näme-to-be-replaced.tst".encode()


def record(kind: int, payload: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(payload).to_bytes(2, "big") + payload


def hello_message(name: str | None = NAME) -> bytes:
    """A ClientHello of OpenSSL's, without the header of its record."""
    context = trusting()
    context.check_hostname = name is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[5:]


def strange_message() -> bytes:
    return hello_message().replace(NAME.encode(), STRANGE)


@pytest.mark.parametrize("name", [NAME, None, "a" * 60 + ".test"])
def test_server_name_is_found_in_a_hello(name: str | None) -> None:
    assert server_name(hello_message(name)[4:]) == (name or "").encode()


def test_server_name_of_a_hello_that_is_cut_off_raises_nothing() -> None:
    body = strange_message()[4:]
    for size in range(len(body)):
        assert server_name(body[:size]) in STRANGE


@pytest.mark.parametrize("size", [1, 3, 100, 1 << 14])
@pytest.mark.parametrize("fragment", [1, 50, 1 << 14])
def test_check_finds_a_strange_name_in_any_pieces(size: int, fragment: int) -> None:
    message = strange_message()
    parts = [message[at : at + fragment] for at in range(0, len(message), fragment)]
    data = b"".join(record(HANDSHAKE, part) for part in parts)
    check = ServerNameCheck()
    found = [check.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert found == [True] * (len(found) - 1) + [False]


def test_check_looks_at_a_second_hello() -> None:
    check = ServerNameCheck()
    assert check.feed(record(HANDSHAKE, hello_message()))
    assert check.feed(record(CHANGE_CIPHER_SPEC, b"\x01"))
    assert not check.feed(record(HANDSHAKE, strange_message()))


@pytest.mark.parametrize("between", [record(HANDSHAKE, b"\x10\0\0\x01x"), record(23, b"encrypted")])
def test_check_ends_with_the_first_message_that_is_no_hello(between: bytes) -> None:
    check = ServerNameCheck()
    assert check.feed(record(HANDSHAKE, hello_message()) + between)
    assert check.feed(record(HANDSHAKE, strange_message()))


def test_check_judges_nothing_but_the_name() -> None:
    """What is not TLS at all is OpenSSL's to refuse."""
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00", b"\0" * 100):
        assert ServerNameCheck().feed(data)
