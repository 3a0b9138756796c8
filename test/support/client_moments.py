"""The moments in the life of a client's exchange, each as a function that reaches it.

Owns: what a test is run at every moment of. Must not know any test.
"""

from __future__ import annotations

import socket

from client_support import HELLO, ClientHarness, Watched

HALF = HELLO[:-2]


def nothing(stage: ClientHarness, watched: Watched) -> None:
    pass


def started(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [])


def connected(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://origin/", [])
    stage.settle()


def sending(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [])
    stage.peer.pause()
    watched.exchange.request_body(b"x" * 1_000_000)
    stage.settle()


def expecting(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("POST", "http://origin/", [("Expect", "100-continue")])
    watched.exchange.request_body("x")
    stage.settle()


def sent(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://origin/", [])
    watched.exchange.request_done([])
    stage.settle()


def refused(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("GET", "http://nowhere/", [])
    stage.settle()


def retrying(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    stage.peer.abort()


def hanging(stage: ClientHarness, watched: Watched) -> None:
    stage.network.errors["hangs", 80] = None
    watched.exchange.request_start("GET", "http://hangs/", [])
    stage.settle()


def queued(stage: ClientHarness, watched: Watched) -> None:
    stage.client.max_server_conn = 1
    other = stage.request()
    watched.exchange.request_start("GET", "http://origin/", [])
    stage.settle()
    other.exchange.cancel()


def in_head(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    stage.peer.send(HELLO[:20])


def in_body(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    stage.peer.send(HALF)


def paused(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    watched.exchange.pause(True)
    stage.peer.send(HELLO)


def ended_paused(stage: ClientHarness, watched: Watched) -> None:
    paused(stage, watched)
    stage.peer.end()


def lost_paused(stage: ClientHarness, watched: Watched) -> None:
    paused(stage, watched)
    stage.peer.abort()


def resuming(stage: ClientHarness, watched: Watched) -> None:
    paused(stage, watched)
    watched.exchange.pause(False)


def failing(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("GET", "nonsense", [])


def done(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    stage.peer.send(HELLO)


def error(stage: ClientHarness, watched: Watched) -> None:
    sent(stage, watched)
    stage.peer.send(b"nonsense\r\n\r\n")


def cancelled(stage: ClientHarness, watched: Watched) -> None:
    in_body(stage, watched)
    watched.exchange.cancel()


def switched(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("CONNECT", "origin:80", [])
    watched.exchange.request_done([])
    stage.peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    watched.heard.events[-1][1].close()


def bad_uri(stage: ClientHarness, watched: Watched) -> None:
    watched.exchange.request_start("GET", "nonsense", [])


def after_retry(stage: ClientHarness, watched: Watched) -> None:
    retrying(stage, watched)
    stage.advance(1)
    stage.peer.send(HELLO)


def no_dns(stage: ClientHarness, watched: Watched) -> None:
    stage.network.errors["gone", 80] = (socket.gaierror, socket.EAI_NONAME)
    watched.exchange.request_start("GET", "http://gone/", [])


#: Where something can still happen to it.
MOMENTS = [
    nothing,
    started,
    connected,
    sending,
    expecting,
    sent,
    refused,
    retrying,
    hanging,
    queued,
    in_head,
    in_body,
    paused,
    ended_paused,
    lost_paused,
    resuming,
    failing,
]
#: Its ends.
ENDS = [done, error, cancelled, switched, bad_uri, after_retry, no_dns]
