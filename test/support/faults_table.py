"""The faults that a sweep goes through.

Owns: tables. What nobody above may notice is marked as harmless.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from faults_kernel import Fault


def _errors(
    call: str, *names: str, harmless: Iterable[str] = (), lasting: bool = False
) -> list[Fault]:
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


def _actions(*actions: str) -> list[Fault]:
    """What a listener does before, or after, what it is there for."""
    return [Fault("callback", f"{action} the listener", action) for action in actions]


#: Not yet: the call is to be made again.
_AGAIN = ("EINTR", "EAGAIN")
#: This kind of socket has no such call.
_REFUSED = ("EINVAL", "ENOSYS")
#: What calls fail with for want of something.
_WANT = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")

FAULTS: dict[str, list[Fault]] = {
    "recv": [
        Fault("recv", "one byte", "one byte", harmless=True),
        *_errors("recv", *_AGAIN, "ECONNRESET", "ETIMEDOUT", "ENOMEM", harmless=_AGAIN),
    ],
    "send": [
        Fault("send", "one byte", "one byte", harmless=True),
        *_errors("send", *_AGAIN, "EPIPE", "ECONNRESET", "ENOBUFS", harmless=_AGAIN),
        *_errors("shutdown", "ENOTCONN", "ENOBUFS"),
    ],
    "splice": [
        Fault("splice in", "one byte", "one byte", harmless=True),
        *_errors("splice in", "EAGAIN", *_REFUSED, harmless=("EAGAIN", *_REFUSED)),
        *_errors("splice in", "ECONNRESET", "ENOMEM"),
        Fault("splice out", "one byte", "one byte", harmless=True),
        *_errors("splice out", "EAGAIN", *_REFUSED, harmless=("EAGAIN", *_REFUSED)),
        *_errors("splice out", "EPIPE", "ECONNRESET", "ENOMEM"),
        *_errors("pipe", "EMFILE", "ENFILE", harmless=("EMFILE", "ENFILE")),
        *_errors("pipe", "EMFILE", harmless=("EMFILE",), lasting=True),
        Fault("pipe", "a tiny one", "tiny", harmless=True),
    ],
    "datagrams": [
        *_errors("sendto", *_AGAIN, "ENOBUFS", "EMSGSIZE", "ENETUNREACH", harmless=_AGAIN),
        *_errors("recvfrom", *_AGAIN, "ENOMEM", "ECONNREFUSED", harmless=_AGAIN),
        *_errors("recvmsg", *_AGAIN, "ENOMEM"),
        *_errors("getsockopt", "ENOBUFS"),
    ],
    "accept": [
        *_errors("accept", *_AGAIN, "EPERM", *_WANT, harmless=(*_AGAIN, "EPERM", *_WANT)),
        *_errors("accept", "ECONNABORTED", "EPROTO"),
        *_errors("accept", "EMFILE", "ECONNABORTED", lasting=True),
    ],
    "sockets": [
        *_errors("socket", *_WANT, "EAFNOSUPPORT"),
        *_errors("socket", "EMFILE", lasting=True),
        *_errors("bind", "EADDRINUSE", "EADDRNOTAVAIL", "ENOBUFS"),
        *_errors("listen", "EADDRINUSE"),
        *_errors("connect", "EINTR", harmless=("EINTR",)),
        *_errors("connect", "ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL", "EPERM", "ENOBUFS"),
        *_errors("connect", "ENETUNREACH", lasting=True),
        *_errors("SO_ERROR", "ECONNREFUSED", "ETIMEDOUT"),
        *_errors("setsockopt", "ENOBUFS"),
        *_errors("getsockname", "ENOTCONN"),
        *_errors("getpeername", "ENOTCONN"),
    ],
    "poller": [
        *_errors("register", "ENOSPC", "ENOMEM"),
        *_errors("register", "ENOSPC", lasting=True),
        *_errors("modify", "ENOMEM"),
        Fault("poll", "no event", "nothing", harmless=True),
        Fault("poll", "spurious events", "everything", harmless=True),
        Fault("poll", "events in reverse", "reverse"),
    ],
    "clock": [
        Fault("clock", "a day later", 86400.0),
        Fault("wall", "a year later", 3.2e7, harmless=True),
        Fault("wall", "before 1970", -1.8e9, harmless=True),
    ],
    "disk": [
        *_errors("open", "EMFILE", "ENFILE", "ENOENT", "EACCES", "EIO"),
        *_errors("stat", "EIO"),
        *_errors("fstat", "EIO"),
        *_errors("pread", "EIO", "EINTR"),
        *_errors("scandir", "EMFILE", "ENOMEM"),
        Fault("pread", "one byte", "one byte"),
    ],
    "sendfile": [
        *_errors("preadv", "EAGAIN", "EOPNOTSUPP", "EIO", harmless=("EAGAIN", "EOPNOTSUPP", "EIO")),
        Fault("sendfile", "one byte", "one byte", harmless=True),
        Fault("sendfile", "nothing", "nothing"),
        *_errors("sendfile", *_AGAIN, *_REFUSED, harmless=(*_AGAIN, *_REFUSED)),
        *_errors("sendfile", "EPIPE", "ECONNRESET", "EIO"),
    ],
    "names": [
        Fault("thread", "no thread", "none"),
        Fault("thread", "no thread, lasting,", "none", lasting=True),
        Fault("thread", "hangs", "hangs"),
        Fault("thread", "too late", "late"),
        Fault("resolve", "no name", socket.gaierror(socket.EAI_NONAME, "no name")),
        Fault("resolve", "try again", socket.gaierror(socket.EAI_AGAIN, "try again")),
        Fault("resolve", "out of memory", socket.gaierror(socket.EAI_MEMORY, "out of memory")),
        Fault("resolve", "EMFILE", OSError(errno.EMFILE, "too many open files")),
        Fault("resolve", "MemoryError", MemoryError()),
        Fault("resolve", "UnicodeError", UnicodeError("label too long")),
        Fault("resolve", "no addresses", []),
    ],
    "listeners that raise": _actions("before raise", "after raise", "before interrupt"),
    "listeners that end": _actions(
        "before end", "after end", "after abort", "before abort all", "after leave"
    ),
    "listeners that stop": _actions(
        "before stop", "after stop", "after shutdown", "after graceful_shutdown", "after close"
    ),
    "listeners that pause": _actions("after pause"),
}
