"""What a proxy says about itself and about its clients, and whose statements it trusts.

Owns: the pseudonym, the trusted networks, and what is known about a client. Must not know fields of
messages, exchanges or connections.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from thor.http.wire.fields import Field
from thor.tcp.address import Networks
from thor.types import Address

#: The random part of the default pseudonyms of a program, and a count of its proxies. Workers that
#: are forked from the program and make their proxies in the same order give them the same names, so
#: that each of them recognizes a request that loops.
_SEED = secrets.randbits(32)
_proxy_count = itertools.count()

PROTO_HTTP: Field = (b"X-Forwarded-Proto", b"http")
PROTO_HTTPS: Field = (b"X-Forwarded-Proto", b"https")


class Policy:
    """What a proxy says about itself, and whom it trusts."""

    __slots__ = (
        "drop_underscore_headers",
        "proto",
        "pseudonym",
        "trusted",
        "via_10",
        "via_11",
    )

    def __init__(
        self,
        pseudonym: str | None = None,
        trusted: Iterable[str] = (),
        drop_underscore_headers: bool = True,
        secure: bool = False,
    ) -> None:
        """Check and keep the settings.

        pseudonym: the proxy's name in Via and Proxy-Status, a token; None: a random one
        trusted: networks, as in `ipaddress.ip_network`, whose X-Forwarded-* and Forwarded are kept;
            "unix:" stands for the peers of Unix sockets
        drop_underscore_headers: drop a field whose name equals that of another field but for octets
            that are neither letters nor digits: CGI and its successors map both to one variable
            (`X_Forwarded_For`, `X.Real.IP`)
        secure: whether all clients connect by TLS
        Raises: ValueError for a pseudonym that is not a token, or an invalid network; TypeError for
            a single string of networks
        """
        if pseudonym is None:
            pseudonym = f"thor-{(_SEED + next(_proxy_count)) % 2**32:08x}"
        if not pseudonym[:1].isalpha() or not pseudonym.isascii():
            raise ValueError(f"pseudonym is {pseudonym!r}; it must begin with a letter")
        if not pseudonym.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
            raise ValueError(f"pseudonym is {pseudonym!r}; it must be letters, digits, '-_.'")
        self.pseudonym = pseudonym.encode("ascii")
        self.trusted = Networks(trusted)
        self.proto = PROTO_HTTPS if secure else PROTO_HTTP
        self.drop_underscore_headers = drop_underscore_headers
        self.via_11: Field = (b"Via", b"1.1 " + self.pseudonym)
        self.via_10: Field = (b"Via", b"1.0 " + self.pseudonym)

    def trusts(self, peer: str) -> bool:
        """Return whether the proxy trusts what this address says about others.

        peer: empty for a Unix socket
        """
        return ((peer,) if peer else "") in self.trusted


class ClientFacts(NamedTuple):
    """What is said upstream about a client.

    peer: its IP address, empty if it has none; is_tls: whether it connected by TLS
    """

    peer: str
    is_tls: bool


@lru_cache(maxsize=1024)
def client_facts(peer: str, is_tls: bool) -> ClientFacts:
    """Return the facts, one object for all connections of a host."""
    return ClientFacts(peer, is_tls)


def peer_ip(address: Address) -> str:
    """Return the client's IP address; empty for a Unix socket."""
    if not isinstance(address, tuple):
        return ""
    host: str = address[0]
    return host.partition("%")[0] if "%" in host else host
