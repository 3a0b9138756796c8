"""UDP endpoints, when any of their calls goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from faults_sweep import Scenario, sweep
from faults_world import World

from thor import UdpEndpoint

HERE = "127.0.0.1"


def endpoint(world: World, name: str, host: str | None, port: int = 0, **reactions: Any) -> Any:
    made = world.serve(name, UdpEndpoint(world.loop), **reactions)
    if host is not None:
        made.bind(host, port)
    made.pause(False)
    return made


def reply(made: Any, data: bytes, host: str, port: int) -> None:
    if not made._closed and not data.startswith(b"re: "):
        made.send(b"re: " + data, host, port)


def questions(world: World) -> None:
    """An endpoint that asks, and one that answers."""
    server: Any = endpoint(world, "server", HERE, 53, datagram=lambda *a: reply(server, *a))
    client = endpoint(world, "client", None)
    world.advance(1)
    for number in range(3):
        if not client._closed:
            client.send(b"question %d" % number, HERE, 53)
        world.advance(1)


def names(world: World) -> None:
    """What is sent to names, and bound to them."""
    world.kernel.names[b"server"] = ["127.0.0.1"]
    server: Any = endpoint(world, "server", "server", 53, datagram=lambda *a: reply(server, *a))
    server.send(b"early", "server", 53)
    world.advance(1)
    client = endpoint(world, "client", None)
    for host in ("server", "nobody.invalid"):
        world.kernel.names.setdefault(b"nobody.invalid", [])
        if not client._closed:
            client.send(b"question", host, 53)
    world.advance(1)


def errors(world: World) -> None:
    """Ports that nobody has, and a datagram behind one of those."""
    server: Any = endpoint(world, "server", HERE, 53, datagram=lambda *a: reply(server, *a))
    client = endpoint(world, "client", HERE)
    world.advance(1)
    for port in (54, 53, 55, 53):
        if not client._closed:
            client.send(b"question", HERE, port)
    world.advance(1)


def everywhere(world: World) -> None:
    """Bound to every interface, paused, and shut down with datagrams waiting."""
    server = endpoint(world, "server", "", 53)
    server.pause(True)
    client = endpoint(world, "client", HERE)
    for number in range(2):
        if not client._closed:
            client.send(b"%d" % number, "0.0.0.0", 53)
    world.advance(1)
    server.pause(False)
    server.shutdown()
    world.advance(1)


SCENARIOS = [questions, names, errors, everywhere]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
