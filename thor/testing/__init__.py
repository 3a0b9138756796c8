"""For tests: connections in memory, a manual clock, peers, and records of what was emitted.

For example::

    client, server = connection_pair(loop := memory_loop())
    heard = Recorder(server, "data", "end")
    server.pause(False)
    client.write(b"hello")
    client.close()
    settle(loop)
    assert heard.take() == [("data", b"hello"), ("end",)]

Must not be imported by anything else in Thor.
"""

from thor.testing.memory import (
    BUFFER_BYTES,
    FIRST_FD,
    ManualClock,
    MemoryPoller,
    MemorySocket,
    Pair,
    advance,
    connection_pair,
    memory_loop,
    settle,
)
from thor.testing.network import MemoryNetwork
from thor.testing.peer import Peer
from thor.testing.records import Playbook, Recorder

__all__ = [
    "BUFFER_BYTES",
    "FIRST_FD",
    "ManualClock",
    "MemoryNetwork",
    "MemoryPoller",
    "MemorySocket",
    "Pair",
    "Peer",
    "Playbook",
    "Recorder",
    "advance",
    "connection_pair",
    "memory_loop",
    "settle",
]
