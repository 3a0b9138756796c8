"""TLS: clients, servers, and their certificates."""

from thor.tls.client import TlsClient
from thor.tls.connection import TlsConnection
from thor.tls.context import client_context, server_context
from thor.tls.development import Certified, DevelopmentCA, self_signed
from thor.tls.errors import reason_of
from thor.tls.reload import ServerContext
from thor.tls.server import TlsAcceptance, TlsServer, accept_tls

__all__ = [
    "Certified",
    "DevelopmentCA",
    "ServerContext",
    "TlsAcceptance",
    "TlsClient",
    "TlsConnection",
    "TlsServer",
    "accept_tls",
    "client_context",
    "reason_of",
    "self_signed",
    "server_context",
]
