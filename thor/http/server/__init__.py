"""The server's side of HTTP."""

from thor.http.http1.server_connection import HttpServerConnection
from thor.http.server.exchange import HttpServerExchange
from thor.http.server.record import RecordedExchange
from thor.http.server.server import HttpServer

__all__ = ["HttpServer", "HttpServerConnection", "HttpServerExchange", "RecordedExchange"]
