"""The faults that a sweep goes through, by kind of call.

Owns: tables. What nobody above may notice is marked as harmless.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from faults_kernel import Fault


def _errors(call: str, *names: str, harmless: Iterable[str] = (), lasting: bool = False) -> list[Fault]:
    return [
        Fault(
            call,
            f"{name}, lasting," if lasting else name,
            getattr(errno, name),
            name in harmless,
            lasting,
        )
        for name in names
    ]


#: What `accept` fails with for want of something: those that wait are accepted later.
_WANT = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")

FAULTS: dict[str, list[Fault]] = {
    "recv": [
        Fault("recv", "one byte", "one byte", harmless=True),
        *_errors(
            "recv",
            *("EINTR", "EAGAIN", "ECONNRESET", "ETIMEDOUT", "ENOBUFS", "ENOMEM"),
            harmless=("EINTR", "EAGAIN"),
        ),
    ],
    "send": [
        Fault("send", "one byte", "one byte", harmless=True),
        Fault("send", "half", "half", harmless=True),
        *_errors(
            "send",
            *("EINTR", "EAGAIN", "EPIPE", "ECONNRESET", "ENOBUFS", "ENOMEM"),
            harmless=("EINTR", "EAGAIN"),
        ),
        *_errors("send", "EPIPE", lasting=True),
    ],
    "accept": [
        *_errors("accept", "EINTR", "EAGAIN", "EPERM", *_WANT, harmless=("EINTR", "EAGAIN", "EPERM", *_WANT)),
        *_errors("accept", "ECONNABORTED", "EPROTO"),
        *_errors("accept", *_WANT, "ECONNABORTED", lasting=True),
    ],
    "shutdown": _errors("shutdown", "ENOTCONN", "ENOBUFS"),
    "setsockopt": _errors("setsockopt", "EINVAL", "ENOBUFS"),
    "getsockname": _errors("getsockname", "ENOTCONN", "ENOBUFS"),
    "getpeername": _errors("getpeername", "ENOTCONN", "EINVAL"),
    "SO_ERROR": _errors("SO_ERROR", "ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH"),
    "socket": [
        *_errors("socket", *_WANT, "EAFNOSUPPORT"),
        *_errors("socket", "EMFILE", lasting=True),
    ],
    "connect": [
        *_errors(
            "connect",
            *("ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "EPERM", "ENOBUFS", "EAGAIN"),
            harmless=("EINTR",),
        ),
        *_errors("connect", "ENETUNREACH", lasting=True),
    ],
    "bind": _errors("bind", "EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "ENOBUFS"),
    "listen": _errors("listen", "EADDRINUSE", "ENOBUFS"),
    "register": [
        *_errors("register", "ENOSPC", "ENOMEM"),
        *_errors("register", "ENOSPC", lasting=True),
    ],
    "modify": _errors("modify", "ENOMEM"),
    "poll": [
        Fault("poll", "no event", "nothing", harmless=True),
        Fault("poll", "spurious events", "everything", harmless=True),
        Fault("poll", "events in reverse", "reverse"),
    ],
    "clock": [
        Fault("clock", "a day later", 86400.0),
        Fault("clock", "a minute back", -60.0),
    ],
    "wall": [
        Fault("wall", "a year later", 3.2e7, harmless=True),
        Fault("wall", "to 1970", -1.7e9, harmless=True),
        Fault("wall", "before 1970", -1.8e9, harmless=True),
    ],
    "thread": [
        Fault("thread", "no thread", "none"),
        Fault("thread", "no thread, lasting,", "none", lasting=True),
        Fault("thread", "hangs", "hangs"),
    ],
    "resolve": [
        Fault("resolve", "no name", socket.gaierror(socket.EAI_NONAME, "no name")),
        Fault("resolve", "try again", socket.gaierror(socket.EAI_AGAIN, "try again")),
        Fault("resolve", "failure", socket.gaierror(socket.EAI_FAIL, "failure")),
        Fault("resolve", "out of memory", socket.gaierror(socket.EAI_MEMORY, "out of memory")),
        Fault("resolve", "EMFILE", OSError(errno.EMFILE, "too many open files")),
        Fault("resolve", "MemoryError", MemoryError()),
        Fault("resolve", "ValueError", ValueError("nonsense")),
        Fault("resolve", "UnicodeError", UnicodeError("label too long")),
        Fault("resolve", "no addresses", []),
    ],
    "callback": [
        Fault("callback", f"{what} {when} the listener", f"{when} {what}")
        for when, what in [
            ("before", "raise"),
            ("after", "raise"),
            ("before", "stop"),
            ("after", "stop"),
            ("before", "shutdown"),
            ("after", "shutdown"),
            ("after", "graceful_shutdown"),
            ("after", "close"),
            ("before", "end"),
            ("after", "end"),
            ("before", "abort"),
            ("after", "abort"),
            ("after", "abort all"),
            ("before", "pause"),
            ("after", "pause"),
        ]
    ],
}
#: A listener that the user interrupts: what is then lost is not known, but nothing may be kept.
INTERRUPTS = [Fault("callback", "interrupt", "before interrupt")]


def each(*calls: str) -> list[Fault]:
    """All faults of these kinds of calls."""
    return [fault for call in calls for fault in FAULTS[call]]
