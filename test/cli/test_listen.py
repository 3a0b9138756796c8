"""Where the commands that serve listen."""

from __future__ import annotations

import argparse
import os
from typing import Any, cast

import pytest

from thor.cli.common import CommandError
from thor.cli.listen import (
    Servers,
    add_server_arguments,
    certificate_errors,
    describe_address,
    format_address,
    idle_drain_s,
    listen_address,
    listen_all,
    listen_errors,
    mode,
    network,
)
from thor.events import EventEmitter
from thor.http import HttpServer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("unix:/run/x:1", ("unix:/run/x:1", 0)),
        ("unix:x", ("unix:x", 0)),
        ("unix:@x", ("unix:@x", 0)),
    ],
)
def test_places_to_listen(text: str, expected: tuple[str, int]) -> None:
    assert listen_address(text) == expected


@pytest.mark.parametrize("text", ["unix:", "unix:@", "/run/x", "80"])
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not"):
        listen_address(text)


def test_modes_are_octal() -> None:
    assert (mode("660"), mode("0600"), mode("777")) == (0o660, 0o600, 0o777)
    for text in (
        "",
        "6",
        "66",
        "888",
        "1777",
        "00660",
        "6x0",
        "0o660",
        "-660",
        "\u0661\u0660\u0660",
    ):
        with pytest.raises(argparse.ArgumentTypeError, match="mode"):
            mode(text)


@pytest.mark.parametrize(
    "text", ["unix:", "10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8", "10.1.2.3/8"]
)
def test_peers_are_networks_or_those_of_unix_sockets(text: str) -> None:
    assert network(text) == text


@pytest.mark.parametrize("text", ["", "x", "10.0.0.0/33", "unix:/run/x"])
def test_peers_that_are_no_network_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no network"):
        network(text)


def test_addresses_are_shown_as_they_are_written() -> None:
    assert format_address(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert format_address(("::1", 80, 0, 0)) == "[::1]:80"
    assert format_address(("unix:/run/x", 0)) == "unix:/run/x"
    assert format_address("/run/x") == "unix:/run/x"
    assert format_address(b"\0x\xff") == "unix:@x\\xff"


def test_where_a_server_listens_is_a_url_or_every_interface() -> None:
    assert describe_address(("127.0.0.1", 80)) == "http://127.0.0.1:80/"
    assert describe_address(("::1", 80, 0, 0), True) == "https://[::1]:80/"
    assert (
        describe_address(("0.0.0.0", 80))
        == describe_address(("::", 80, 0, 0))
        == "port 80 of every interface"
    )
    assert describe_address("/run/x") == "unix:/run/x"


# -- the servers --------------------------------------------------------------------------------


class Server(EventEmitter):
    """Takes what a server takes, and remembers it."""

    def __init__(self, host: Any, port: Any, **settings: Any) -> None:
        self.address = host[5:] if host.startswith("unix:") else (host, port)
        self.settings = settings
        self.told = False

    def graceful_shutdown(self) -> None:
        self.told = True


class Loop:
    """Remembers that it was stopped."""

    stopped = 0

    def stop(self) -> None:
        self.stopped += 1


def make(*argv: str) -> tuple[list[Server], str]:
    """What is made for these arguments."""
    parser = argparse.ArgumentParser()
    add_server_arguments(parser, "127.0.0.1:8000")
    made: list[Server] = []

    def serve(host: Any, port: Any, **settings: Any) -> Any:
        made.append(Server(host, port, **settings))
        return made[-1]

    loop: Any = Loop()
    return made, listen_all(parser.parse_args(argv), loop, serve)[1]


def test_default_place() -> None:
    (server,), where = make()
    assert (server.address, server.settings) == (("127.0.0.1", 8000), {})
    assert where == "http://127.0.0.1:8000/"


def test_several_places(tmp_path: Any) -> None:
    servers, where = make("--listen", "127.0.0.1:1", "--listen", f"unix:{tmp_path}/x")
    assert [server.address for server in servers] == [("127.0.0.1", 1), f"{tmp_path}/x"]
    assert where == f"http://127.0.0.1:1/, unix:{tmp_path}/x"


@pytest.mark.parametrize(("drain", "idle"), [("30", 5.0), ("4", 2.0), ("0", 0.0)])
def test_idle_connections_are_over_before_requests_are_given_up(drain: str, idle: float) -> None:
    parser = argparse.ArgumentParser()
    add_server_arguments(parser, "127.0.0.1:8000")
    assert idle_drain_s(parser.parse_args(["--drain", drain])) == idle


def test_mode_is_that_of_unix_sockets() -> None:
    both = ("--listen", "unix:x", "--listen", ":1")
    one, other = make("--socket-mode", "660", *both)[0]
    assert (one.settings, other.settings) == ({"mode": 0o660}, {})
    with pytest.raises(CommandError, match="--socket-mode is for"):
        make("--socket-mode", "660")


def test_trusted_proxies_are_passed_on() -> None:
    (server,), _ = make("--proxy-protocol", "10.0.0.0/8", "--proxy-protocol", "unix:")
    assert server.settings == {"proxy_protocol": ["10.0.0.0/8", "unix:"]}


def test_key_needs_a_certificate() -> None:
    with pytest.raises(CommandError, match="--key goes with --certificate"):
        make("--key", "x")
    with pytest.raises(CommandError, match="--client-ca goes with --certificate"):
        make("--client-ca", "x")


def test_inherited_sockets_take_the_place_of_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "x")
    with pytest.raises(CommandError, match="LISTEN_FDS is 'x'"):
        make()
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "x")
    assert make("--listen", ":1")[1] == "http://:1/"


def test_place_that_cannot_be_listened_on_ends_the_others() -> None:
    parser = argparse.ArgumentParser()
    add_server_arguments(parser, "127.0.0.1:8000")
    loop: Any = Loop()

    def refuse(host: Any, port: Any, **settings: Any) -> Any:
        raise OSError(98, "Address already in use")

    with pytest.raises(CommandError, match="cannot listen on unix:x: Address already in use"):
        listen_all(parser.parse_args(["--listen", "unix:x"]), loop, refuse)
    assert loop.stopped == 1


def test_what_a_server_cannot_be_made_with_is_told() -> None:
    says = "cannot listen on unix:@x: no mode"
    with pytest.raises(CommandError, match=says), listen_errors(("unix:@x", 0)):
        raise ValueError("no mode")
    says = "cannot listen on unix:x: too long"
    with pytest.raises(CommandError, match=says), listen_errors(("unix:x", 0)):
        raise OSError("too long")


def test_loop_stops_when_all_have() -> None:
    loop: Any = Loop()
    made = [Server("a", 1), Server("b", 2)]
    servers = Servers(cast(list[HttpServer], made), loop)
    servers.graceful_shutdown()
    assert all(server.told for server in made)
    made[0].emit("stop")
    assert not loop.stopped
    made[1].emit("stop")
    assert loop.stopped == 1


def test_file_that_cannot_be_used_is_named() -> None:
    says = "cannot use /no/x: No such file or directory"
    with pytest.raises(CommandError, match=says), certificate_errors():
        os.stat("/no/x")
    says = "cannot use a and b: they are none"
    with pytest.raises(CommandError, match=says), certificate_errors():
        raise ValueError("a and b: they are none")
