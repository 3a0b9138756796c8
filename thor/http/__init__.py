"""HTTP/1.1: client and server. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from thor.lazy import lazy_attributes

if TYPE_CHECKING:
    from thor.http import client, common, error, headers, server, uri, wire
    from thor.http.client import HttpClient, HttpClientExchange
    from thor.http.headers import get_header, header_dict, header_names
    from thor.http.server import HttpServer, HttpServerConnection, HttpServerExchange

__all__ = [
    "HttpClient",
    "HttpClientExchange",
    "HttpServer",
    "HttpServerConnection",
    "HttpServerExchange",
    "client",
    "common",
    "error",
    "get_header",
    "header_dict",
    "header_names",
    "headers",
    "server",
    "uri",
    "wire",
]

#: The module that each of these names comes from; the others are submodules.
_MODULES = {
    "HttpClient": "thor.http.client",
    "HttpClientExchange": "thor.http.client",
    "HttpServer": "thor.http.server",
    "HttpServerConnection": "thor.http.server",
    "HttpServerExchange": "thor.http.server",
    "get_header": "thor.http.headers",
    "header_dict": "thor.http.headers",
    "header_names": "thor.http.headers",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, __all__, _MODULES)
