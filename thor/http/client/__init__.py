"""The client's side of HTTP."""

from thor.http.client.client import HttpClient
from thor.http.client.connection import HttpClientConnection
from thor.http.client.exchange import HttpClientExchange

__all__ = ["HttpClient", "HttpClientConnection", "HttpClientExchange"]
