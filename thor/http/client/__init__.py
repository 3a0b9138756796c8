"""The client's side of HTTP."""

from thor.http.client.client import HttpClient
from thor.http.client.exchange import HttpClientExchange
from thor.http.client.fetch import Fetch, Response
from thor.http.http1.client_connection import HttpClientConnection

__all__ = ["Fetch", "HttpClient", "HttpClientConnection", "HttpClientExchange", "Response"]
