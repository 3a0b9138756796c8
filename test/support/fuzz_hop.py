"""A proxy between a client and an origin, which the fuzz tests play, in memory.

Owns: the hop, and what has to be true of what crosses it. Must not know how bytes are made.

Theory of operation: what is sent into the proxy and what comes out of it are read by the same
readers, and by the independent ones. Each message that comes out is one that went in: same method,
target, status, fields but those that concern a hop, body, trailers. What went in incomplete, or
was refused on the way, never comes out complete.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from fuzz_comparison import compare_requests, compare_responses
from fuzz_exchange import WITHOUT_CONTENT
from fuzz_readings import Fields, Said, thor_requests, thor_response
from wire_support import read_responses

from thor.http import HttpServer
from thor.http.http1.client_timeouts import CONTINUE_S
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, advance, settle

#: What concerns a hop, or is replaced by a proxy; compared by themselves, or not at all.
_OF_A_HOP = re.compile(
    rb"(?i)(connection|content-length|date|expect|forwarded|host|http2-settings|keep-alive"
    rb"|max-forwards|proxy-connection|proxy-status|te|trailer|transfer-encoding|upgrade|via"
    rb"|x-forwarded-.*|x-real-ip|.*_.*)"
)


class Peer:
    """One end of a connection, played: what it received, and how that ended."""

    def __init__(self, conn: TcpConnection) -> None:
        self.conn = conn
        self.received = b""
        self.ended = self.lost = False
        self.answered = 0
        conn.allow_half_open = True
        conn.on("data", self._data)
        conn.on("end", self._end)
        conn.on("close", self._close)
        conn.pause(False)

    def _data(self, data: bytes) -> None:
        self.received += data

    def _end(self) -> None:
        self.ended = True

    def _close(self) -> None:
        self.lost = True


class Hop:
    """A reverse proxy, one client, and an origin's connections in the order of their opening."""

    def __init__(self) -> None:
        self.network = network = MemoryNetwork()
        self.origins: list[Peer] = []
        tcp_class = network.tcp_server_class
        settings = {"tcp_server_class": tcp_class, "send_date": False}
        server_class = type("_Server", (HttpServer,), settings)
        proxy_class: Any = type("_Proxy", (ReverseProxy,), {"server_class": server_class})
        tcp_class("origin", 80).on("connect", lambda conn: self.origins.append(Peer(conn)))
        upstream = Upstream(["http://origin"], request_trailers=True)
        self.proxy = proxy_class("proxy", 80, upstream, network.loop, pseudonym="fred")
        self.proxy.client.tcp_client_class = network.tcp_client_class
        self.client = Peer(network.connect("proxy", 80))
        self.settle()

    def settle(self) -> None:
        """Let happen what can happen now."""
        settle(self.network.loop)

    def send(self, peer: Peer, data: bytes) -> None:
        """A peer sends, if it still can."""
        if not (peer.lost or peer.ended):
            peer.conn.write(data)
            self.settle()

    def end(self) -> None:
        """Nothing is left behind."""
        for peer in [self.client, *self.origins]:
            if not peer.lost:
                peer.conn.abort()
        self.proxy.shutdown()
        self.settle()
        self.network.loop.stop()


# -- the way up ---------------------------------------------------------------------------------


def cross_requests(data: bytes) -> None:
    """Send a client's bytes through a proxy; AssertionError if something else comes out."""
    sent = thor_requests([data])
    hop = Hop()
    try:
        hop.send(hop.client, data)
        answer_all(hop)
        advance(hop.network.loop, 2 * CONTINUE_S)  # who waits for a 100 has waited
        answer_all(hop)
        received = hop.client.received
        arrived = [said for peer in hop.origins for said in _arrived(peer)]
    finally:
        hop.end()
    _check_ledger(sent.messages, sent.refused, received, arrived)


def answer_all(hop: Hop) -> None:
    """Be an origin that answers each request that is complete, and says to which."""
    busy = True
    while busy:
        busy = False
        for peer in list(hop.origins):
            messages = [said for said in thor_requests([peer.received]).messages if said.complete]
            for said in messages[peer.answered :]:
                peer.answered += 1
                busy = True
                body = b"" if said.start[0] == b"HEAD" else tag(said)
                head = b"HTTP/1.1 299 Tagged\r\nX-Tag: %b\r\nContent-Length: %d\r\n\r\n"
                hop.send(peer, head % (tag(said), len(tag(said))) + body)


def tag(said: Said) -> bytes:
    """What tells a request from another one."""
    of = b"\n".join([said.start[0] or b"", origin_form(said), said.body or b""])
    return hashlib.md5(of).hexdigest().encode()


def origin_form(said: Said) -> bytes:
    """A request's target as an origin gets it (RFC 9112 section 3.2)."""
    method, target, _ = said.start
    assert target is not None
    found = re.match(rb"[A-Za-z][-+.0-9A-Za-z]*://[^/?]*", target)
    if found is None:
        return target
    rest = target[found.end() :]
    if not rest:
        return b"*" if method == b"OPTIONS" else b"/"
    return rest if rest.startswith(b"/") else b"/" + rest


def _arrived(peer: Peer) -> list[Said]:
    """What an origin's connection received; all parsers have to agree on it."""
    reading = thor_requests([peer.received])
    assert reading.refused is None, f"the origin refuses {peer.received!r}: {reading.refused}"
    assert reading.rest in (b"", None), f"the origin is left with {reading.rest!r}"
    assert compare_requests(peer.received) == []
    return reading.messages


def _check_ledger(
    sent: list[Said], refused: str | None, received: bytes, arrived: list[Said]
) -> None:
    """Each request arrived at most once, in order, as it was sent, and got its own answer."""
    methods = [said.start[0] or b"" for said in sent] + [b"GET"]
    answers = read_responses([received], methods).messages
    finals = [answer for answer in answers if answer.head.status_code >= 200]  # type: ignore[union-attr]
    waiting = list(arrived)
    for index, said in enumerate(sent):
        other = waiting[0] if waiting else None
        came = other is not None and other.start[:2] == (said.start[0], origin_form(said))
        if came:
            assert other is not None
            _same_request(said, waiting.pop(0))
        if not said.complete:
            assert not (came and other and other.complete), "completed on the way"
            continue
        assert index < len(finals), f"request {index + 1} got no answer: {received!r}"
        assert finals[index].complete
        head: Any = finals[index].head
        tags = [value for name, value in head.headers if name == b"X-Tag"]
        if came:
            assert tags == [tag(said)], f"request {index + 1} got the answer to another"
        else:
            assert not tags
            assert head.status_code >= 400 or said.start[0] in (b"OPTIONS", b"TRACE")
        if not head.keep_alive:
            break  # the proxy ends the connection, and looks at nothing that follows
    assert not waiting, f"arrived, and was never sent: {waiting}"
    assert len(finals) <= len(sent) + (refused is not None), "more answers than requests"


def _same_request(sent: Said, arrived: Said) -> None:
    _nothing_of_the_hop(sent.fields, arrived.fields)
    assert _values(arrived.fields, b"x-forwarded-for") == [b"127.0.0.1"]
    assert end_to_end(arrived.fields, sent.fields) == end_to_end(sent.fields, sent.fields)
    if hosts := _values(sent.fields, b"host"):
        assert _values(arrived.fields, b"host") == hosts
    _same_body(sent, arrived)


# -- the way down -------------------------------------------------------------------------------


def cross_response(data: bytes, method: bytes, version: bytes = b"1.1") -> None:
    """Send an origin's bytes, and then its FIN, through a proxy that asked with this method."""
    sent = thor_response([data], method)
    hop = Hop()
    try:
        hop.send(hop.client, b"%b / HTTP/%b\r\nHost: a\r\nTE: trailers\r\n\r\n" % (method, version))
        origin = hop.origins[0]
        hop.send(origin, data)
        if not (origin.lost or origin.ended):
            origin.conn.end_writing()
            hop.settle()
        client = hop.client
    finally:
        hop.end()
    if not client.lost:
        assert compare_responses(client.received, method) == []
    outcome = read_responses([client.received], [method], eof=client.ended and not client.lost)
    assert outcome.error is None or client.lost, (outcome.error, client.received)
    _check_way_down(sent.messages, sent.refused, outcome.messages, version)


def _check_way_down(
    sent: list[Said], refused: str | None, arrived: list[Any], version: bytes
) -> None:
    """The response that arrived is the one that was sent, or the proxy's own, or incomplete."""
    last = sent[-1] if sent else None
    final = last if last is not None and (last.start[1] or b"") >= b"200" else None
    for message in arrived:
        status = message.head.status
        if status < b"200":
            assert status in [said.start[1] for said in sent], "an informational response, made up"
            assert version != b"1.0"
            continue
        own = any(name == b"Proxy-Status" for name, _ in message.head.headers)
        if own:
            assert status in (b"502", b"504")
            assert message.complete
            continue
        assert final is not None, "a response that was never sent"
        said = Said(final.start, message.head.headers, message.body, message.trailers)
        said.complete = message.complete
        assert (status, message.head.phrase) == final.start[1:]
        _nothing_of_the_hop(final.fields, said.fields)
        assert end_to_end(said.fields, final.fields) == end_to_end(final.fields, final.fields)
        _same_body(final, said, trailers=version != b"1.0" and final.trailers is not None)
        if refused is not None:
            assert not message.complete, "what was refused arrived whole"
    if final is not None and final.complete and refused is None:
        assert [message.complete for message in arrived][-1:] == [True], "it did not arrive"


# -- both ways ----------------------------------------------------------------------------------


def end_to_end(fields: Fields, sent: Fields) -> Fields:
    """The fields that a proxy has to pass on as they are (RFC 9110 section 7.6.1).

    sent: the fields of the message that went in, whose Connection takes some away
    """
    nominated = _nominated(sent)
    return [
        (name, value)
        for name, value in fields
        if not _OF_A_HOP.fullmatch(name) and name.lower() not in nominated
    ]


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for found, value in fields if found.lower() == name]


def _nominated(sent: Fields) -> set[bytes]:
    named = b",".join(_values(sent, b"connection")).lower()
    return {option.strip(b" \t") for option in named.split(b",")}


def _nothing_of_the_hop(sent: Fields, arrived: Fields) -> None:
    """What was said about the connection before is not said about this one."""
    gone = {b"keep-alive", b"proxy-connection", b"http2-settings"}
    gone |= {name for name in _nominated(sent) if not _OF_A_HOP.fullmatch(name)}
    assert {name.lower() for name, _ in arrived} & gone == set()


def _same_body(sent: Said, arrived: Said, *, trailers: bool = True) -> None:
    assert sent.body is not None
    assert arrived.body is not None
    if not arrived.complete:
        assert sent.body.startswith(arrived.body)
        return
    assert sent.complete, "completed on the way"
    assert arrived.body == sent.body
    if trailers and sent.trailers and arrived.trailers is not None:
        if not sent.body and sent.start[0] in WITHOUT_CONTENT:
            return
        kept = [field for field in sent.trailers if not _OF_A_HOP.fullmatch(field[0])]
        found = [field for field in arrived.trailers if not _OF_A_HOP.fullmatch(field[0])]
        assert found == kept
