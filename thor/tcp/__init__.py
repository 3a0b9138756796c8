"""TCP: connections, and the clients and servers that make them."""

from thor.tcp.client import AddressRefused, TcpClient
from thor.tcp.connection import TcpConnection
from thor.tcp.server import TcpServer

__all__ = ["AddressRefused", "TcpClient", "TcpConnection", "TcpServer"]
