"""HTTP/1.1: client and server."""

from thor.http.client import HttpClient, HttpClientExchange
from thor.http.headers import get_header, header_dict, header_names
from thor.http.server import HttpServer, HttpServerConnection, HttpServerExchange

__all__ = [
    "HttpClient",
    "HttpClientExchange",
    "HttpServer",
    "HttpServerConnection",
    "HttpServerExchange",
    "get_header",
    "header_dict",
    "header_names",
]
