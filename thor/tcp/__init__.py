"""TCP: connections, and the clients and servers that make them.

What belongs to the PROXY protocol, and what joins connections, is imported when it is first used.
"""

from typing import TYPE_CHECKING

from thor.lazy import lazy_attributes
from thor.tcp.client import AddressRefused, TcpClient
from thor.tcp.connection import TcpConnection
from thor.tcp.server import TcpServer
from thor.tcp.socket_activation import ListenSocket, listen_fds
from thor.tcp.worker_sockets import ListeningSlots, WorkerSockets

if TYPE_CHECKING:
    from thor.tcp import proxy_tlvs
    from thor.tcp.proxy_protocol import ProxyHeader
    from thor.tcp.proxy_tlvs import ProxyHeaderError, ProxySsl
    from thor.tcp.tunnel import Tunnel, join

__all__ = [
    "AddressRefused",
    "ListenSocket",
    "ListeningSlots",
    "ProxyHeader",
    "ProxyHeaderError",
    "ProxySsl",
    "TcpClient",
    "TcpConnection",
    "TcpServer",
    "Tunnel",
    "WorkerSockets",
    "join",
    "listen_fds",
    "proxy_tlvs",
]

#: The module that each of these names comes from; `proxy_tlvs` is a submodule.
_MODULES = {
    "ProxyHeader": "thor.tcp.proxy_protocol",
    "ProxyHeaderError": "thor.tcp.proxy_tlvs",
    "ProxySsl": "thor.tcp.proxy_tlvs",
    "Tunnel": "thor.tcp.tunnel",
    "join": "thor.tcp.tunnel",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, __all__, _MODULES)
