"""The framework for intermediation: reverse proxies, and what they are made of."""

from thor.proxy.flow import Flow
from thor.proxy.reverse import ReverseProxy
from thor.proxy.upstream import Endpoint, Upstream

__all__ = ["Endpoint", "Flow", "ReverseProxy", "Upstream"]
