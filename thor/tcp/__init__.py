"""TCP: connections, and the clients and servers that make them."""

from thor.tcp.client import AddressRefused, TcpClient
from thor.tcp.connection import TcpConnection
from thor.tcp.inherited import ListenSocket, listen_fds
from thor.tcp.proxy_protocol import ProxyHeader
from thor.tcp.proxy_tlvs import ProxyHeaderError, ProxySsl
from thor.tcp.server import TcpServer
from thor.tcp.slots import ListeningSlots

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
    "listen_fds",
]
