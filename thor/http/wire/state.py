"""Where an exchange stands.

Owns: the states of both sides. Must not know bytes or sockets. Reading and writing are independent;
the exchanges and connections say what leads from one state to the next.
"""

from __future__ import annotations

from enum import Enum, auto


class ServerReading(Enum):
    """How much of the request a server has."""

    HEAD = auto()
    BODY = auto()
    DONE = auto()
    FAILED = auto()


class ServerWriting(Enum):
    """How much of the response a server has been given."""

    IDLE = auto()
    BODY = auto()
    DONE = auto()
    UPGRADED = auto()
    FAILED = auto()


class ClientWriting(Enum):
    """How much of the request a client has been given."""

    IDLE = auto()
    BODY = auto()
    DONE = auto()
    FAILED = auto()


class ClientReading(Enum):
    """How much of the response a client has."""

    HEAD = auto()
    BODY = auto()
    DONE = auto()
    UPGRADED = auto()
    FAILED = auto()
