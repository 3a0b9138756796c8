"""HTTP/1.1: client and server. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from thor.lazy import lazy_attributes

if TYPE_CHECKING:
    from thor.http import client, common, error, headers, server, uri, wire
    from thor.http.client import Fetch, HttpClient, HttpClientExchange, Response
    from thor.http.headers import get_header, header_dict, header_names
    from thor.http.relaying import relay
    from thor.http.server import HttpServer, HttpServerConnection, HttpServerExchange

__all__ = [
    "Fetch",
    "HttpClient",
    "HttpClientExchange",
    "HttpServer",
    "HttpServerConnection",
    "HttpServerExchange",
    "Response",
    "client",
    "common",
    "error",
    "get_header",
    "header_dict",
    "header_names",
    "headers",
    "relay",
    "server",
    "uri",
    "wire",
]

#: The module that each of these names comes from; the others are submodules.
_MODULES = {
    "Fetch": "thor.http.client",
    "HttpClient": "thor.http.client",
    "HttpClientExchange": "thor.http.client",
    "HttpServer": "thor.http.server",
    "HttpServerConnection": "thor.http.server",
    "HttpServerExchange": "thor.http.server",
    "Response": "thor.http.client",
    "get_header": "thor.http.headers",
    "header_dict": "thor.http.headers",
    "header_names": "thor.http.headers",
    "relay": "thor.http.relaying",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, __all__, _MODULES)
