"""Decide what to forward of a client's request.

Owns: what depends on the client's exchange: who the client is, and the methods that concern the
hop. Must not know how fields are forwarded, nor where to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thor.proxy.forwarding import decrement_max_forwards, forward_request, origin_form
from thor.proxy.local_response import CONNECT_REFUSED
from thor.proxy.policy import ClientFacts, client_facts, peer_ip

if TYPE_CHECKING:
    from thor.http.server import HttpServerExchange
    from thor.proxy.forwarding import ForwardedRequest
    from thor.proxy.policy import Policy
    from thor.types import RawHeaders

_SPECIAL_METHODS = frozenset((b"CONNECT", b"OPTIONS", b"TRACE"))


def forward_from_client(
    exchange: HttpServerExchange, policy: Policy, forwards_trailers: bool
) -> ForwardedRequest:
    """Return what goes upstream of a client's request, besides its method and its target.

    forwards_trailers: whether trailers of requests are forwarded
    Raises: LocalResponse for a request that is not forwarded
    """
    fields = exchange.req_hdrs
    if exchange.method in _SPECIAL_METHODS:
        fields = _check_special_method(exchange)
    conn = exchange.http_conn
    client = conn.client
    if not isinstance(client, ClientFacts):
        client = conn.client = client_facts(peer_ip(conn.address), exchange.secure)
    target = exchange.uri
    if not target.startswith(b"/") and target[:8].lower() == b"https://":
        # Only from a client that the server trusts.
        client = client_facts(client.peer, True)
    return forward_request(
        fields,
        exchange.req_version != b"1.0",
        exchange.host,
        client,
        policy,
        exchange.expects_continue,
        forwards_trailers,
    )


def _check_special_method(exchange: HttpServerExchange) -> RawHeaders:
    """Return the fields of a request whose method concerns the hop. Raises: LocalResponse"""
    method = exchange.method
    if method == b"CONNECT":
        raise CONNECT_REFUSED
    return decrement_max_forwards(method, origin_form(method, exchange.uri), exchange.req_hdrs)
