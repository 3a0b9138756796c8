"""The framework for intermediaries: the reverse proxy and its parts."""

from thor.proxy.flow import Flow
from thor.proxy.reverse import ReverseProxy
from thor.proxy.upstream import Endpoint, Upstream

__all__ = ["Endpoint", "Flow", "ReverseProxy", "Upstream"]
