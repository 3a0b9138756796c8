"""UDP: endpoints, which send and receive datagrams."""

from thor.udp.endpoint import UdpEndpoint

__all__ = ["UdpEndpoint"]
