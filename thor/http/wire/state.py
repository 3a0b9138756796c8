"""Where an exchange stands.

Owns: the states of both sides and the tables of what leads from one to the next. Must not know
bytes or sockets.

Theory of operation: reading and writing are independent axes, each with its own table; what is
not in a table cannot happen, or is an error of whoever made it happen. The connections spell the
frequent transitions out where speed matters, and their tests hold them to these tables.
"""

from __future__ import annotations

from enum import Enum, auto


class Event(Enum):
    """What moves an exchange on."""

    #: A head was read or written: of a final response, or of a request.
    START = auto()
    #: An informational response.
    NONFINAL = auto()
    #: A piece of the body.
    BODY = auto()
    #: The message is complete.
    END = auto()
    #: Another protocol takes over: 101, or a successful CONNECT.
    UPGRADE = auto()
    #: It cannot be completed any more.
    FAIL = auto()
    #: Both sides are complete and the connection persists: the next exchange begins.
    NEXT = auto()


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


SERVER_READING = {
    (ServerReading.HEAD, Event.START): ServerReading.BODY,
    (ServerReading.HEAD, Event.FAIL): ServerReading.FAILED,
    (ServerReading.BODY, Event.BODY): ServerReading.BODY,
    (ServerReading.BODY, Event.END): ServerReading.DONE,
    (ServerReading.BODY, Event.FAIL): ServerReading.FAILED,
    (ServerReading.DONE, Event.NEXT): ServerReading.HEAD,
    (ServerReading.DONE, Event.FAIL): ServerReading.FAILED,
}

SERVER_WRITING = {
    (ServerWriting.IDLE, Event.NONFINAL): ServerWriting.IDLE,
    (ServerWriting.IDLE, Event.START): ServerWriting.BODY,
    (ServerWriting.IDLE, Event.UPGRADE): ServerWriting.UPGRADED,
    (ServerWriting.IDLE, Event.FAIL): ServerWriting.FAILED,
    (ServerWriting.BODY, Event.BODY): ServerWriting.BODY,
    (ServerWriting.BODY, Event.END): ServerWriting.DONE,
    (ServerWriting.BODY, Event.FAIL): ServerWriting.FAILED,
    (ServerWriting.DONE, Event.FAIL): ServerWriting.FAILED,
}

CLIENT_WRITING = {
    (ClientWriting.IDLE, Event.START): ClientWriting.BODY,
    (ClientWriting.IDLE, Event.FAIL): ClientWriting.FAILED,
    (ClientWriting.BODY, Event.BODY): ClientWriting.BODY,
    (ClientWriting.BODY, Event.END): ClientWriting.DONE,
    (ClientWriting.BODY, Event.FAIL): ClientWriting.FAILED,
    (ClientWriting.DONE, Event.FAIL): ClientWriting.FAILED,
}

CLIENT_READING = {
    (ClientReading.HEAD, Event.NONFINAL): ClientReading.HEAD,
    (ClientReading.HEAD, Event.START): ClientReading.BODY,
    (ClientReading.HEAD, Event.UPGRADE): ClientReading.UPGRADED,
    (ClientReading.HEAD, Event.FAIL): ClientReading.FAILED,
    (ClientReading.BODY, Event.BODY): ClientReading.BODY,
    (ClientReading.BODY, Event.END): ClientReading.DONE,
    (ClientReading.BODY, Event.FAIL): ClientReading.FAILED,
}
