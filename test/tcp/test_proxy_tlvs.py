"""The TLVs of a PROXY header: the facts that they are, and the checksum."""

from __future__ import annotations

import pytest
from proxy_headers import DESTINATION, SOURCE, SSL_VALUE, V4, VALID, summed, tlv

from thor.tcp.proxy_protocol import ProxyHeader, parse_header
from thor.tcp.proxy_tlvs import (
    ALPN,
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    PP2_TYPE_ALPN,
    ProxyHeaderError,
    ProxySsl,
    crc32c,
    join_tlvs,
    read_ssl,
)


def test_earlier_name_of_the_alpn_type_is_an_alias() -> None:
    assert ALPN == PP2_TYPE_ALPN == 0x01


def test_facts_that_are_not_told_are_none() -> None:
    header = ProxyHeader(SOURCE, DESTINATION)
    told = (header.alpn, header.authority, header.unique_id, header.netns, header.ssl)
    assert told == (None,) * 5
    assert header.tlv(0xE0) is None


def test_facts_are_read() -> None:
    header = next(says for name, _, says in VALID if name.endswith("of the specification"))
    assert header.alpn == b"h2"
    assert header.authority == "b\u00fccher.example"
    assert header.unique_id == bytes(range(128))
    assert header.netns == "blue"
    assert header.ssl == ProxySsl(
        CLIENT_SSL | CLIENT_CERT_CONN,
        0,
        version="TLSv1.3",
        common_name="Jos\u00e9",
        cipher="TLS_AES_128_GCM_SHA256",
        signature_algorithm="RSA-SHA256",
        key_algorithm="RSA2048",
        group="X25519",
        signature_scheme="rsa_pss_rsae_sha256",
        client_certificate=b"\x30\x82",
    )
    assert header.ssl.to_bytes() == SSL_VALUE


@pytest.mark.parametrize(
    ("client", "verify", "verified"),
    [
        (CLIENT_SSL | CLIENT_CERT_CONN, 0, True),
        (CLIENT_SSL | CLIENT_CERT_SESS, 0, True),
        (CLIENT_SSL | CLIENT_CERT_CONN, 19, False),
        (CLIENT_SSL, 0, False),
        (CLIENT_SSL, 1, False),
    ],
)
def test_certificate_is_verified_if_there_is_one(client: int, verify: int, verified: bool) -> None:
    assert ProxySsl(client, verify).verified is verified


def test_what_is_unknown_inside_the_ssl_tlv_is_passed_over() -> None:
    value = bytes(5) + tlv(0x2F, b"\xff") + tlv(0x21, b"TLSv1.2")
    assert read_ssl(value) == ProxySsl(0, 0, version="TLSv1.2")


def test_ssl_tlv_says_only_what_is_known() -> None:
    assert ProxySsl(CLIENT_SSL, 1, version="TLSv1.3").to_bytes() == (
        b"\x01\0\0\0\x01" + tlv(0x21, b"TLSv1.3")
    )


def test_tlvs_are_joined_as_they_are() -> None:
    assert join_tlvs([(1, b"a"), (255, b"")]) == b"\x01\0\x01a\xff\0\0"


# -- the checksum --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        # RFC 3720 appendix B.4.
        pytest.param(bytes(32), 0x8A9136AA, id="zeros"),
        pytest.param(b"\xff" * 32, 0x62A8AB43, id="ones"),
        pytest.param(bytes(range(32)), 0x46DD794E, id="up"),
        pytest.param(bytes(range(31, -1, -1)), 0x113FDB5C, id="down"),
        pytest.param(b"123456789", 0xE3069283, id="digits"),
        pytest.param(b"", 0, id="nothing"),
    ],
)
def test_crc32c(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


def test_every_bit_of_the_header_counts_for_the_checksum() -> None:
    data = summed(V4, 0x11, tlv(PP2_TYPE_ALPN, b"h2"))
    # Not those that say that there is a checksum, and where.
    for at in (*range(16, 29), 31, 32, *range(len(data) - 4, len(data))):
        for bit in range(8):
            broken = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises(ProxyHeaderError):
                parse_header(broken)
