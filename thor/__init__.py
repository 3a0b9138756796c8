"""Thor: evented I/O and HTTP for building intermediaries.

`import thor` imports none of its packages: each public name is imported when it is first used.
"""

import os
from typing import TYPE_CHECKING

from thor.lazy import lazy_attributes

if TYPE_CHECKING:
    from thor import (
        dns,
        events,
        files,
        http,
        loop,
        native,
        proxy,
        tcp,
        testing,
        tls,
        types,
        udp,
        workers,
    )
    from thor.events import EventEmitter, on
    from thor.http import HttpClient, HttpServer, relay
    from thor.loop import run, schedule, stop, time
    from thor.tcp import TcpClient, TcpConnection, TcpServer, join
    from thor.tls import TlsClient, TlsServer
    from thor.udp import UdpEndpoint

__version__ = "1.0.0.dev0"
__all__ = [
    "EventEmitter",
    "HttpClient",
    "HttpServer",
    "TcpClient",
    "TcpConnection",
    "TcpServer",
    "TlsClient",
    "TlsServer",
    "UdpEndpoint",
    "__version__",
    "dns",
    "events",
    "files",
    "http",
    "join",
    "loop",
    "native",
    "on",
    "proxy",
    "relay",
    "run",
    "schedule",
    "stop",
    "tcp",
    "testing",
    "time",
    "tls",
    "types",
    "udp",
    "workers",
]

#: The module that each of these names comes from; the others are submodules.
_MODULES = {
    "EventEmitter": "thor.events",
    "HttpClient": "thor.http",
    "HttpServer": "thor.http",
    "TcpClient": "thor.tcp",
    "TcpConnection": "thor.tcp",
    "TcpServer": "thor.tcp",
    "TlsClient": "thor.tls",
    "TlsServer": "thor.tls",
    "UdpEndpoint": "thor.udp",
    "join": "thor.tcp",
    "on": "thor.events",
    "relay": "thor.http",
    "run": "thor.loop",
    "schedule": "thor.loop",
    "stop": "thor.loop",
    "time": "thor.loop",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, __all__, _MODULES)

if os.environ.get("THOR_DEBUG", "") not in ("", "0"):
    from thor import development

    development.enable()
