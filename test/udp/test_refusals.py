"""What an endpoint does when the kernel refuses, or has to be asked again."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from udp_support import V4, Bench, data_of, port_of

from thor import UdpEndpoint
from thor.loop.fd_registry import FdRegistry

AGAIN = pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINTR])


@pytest.mark.parametrize("nth", [1, 2])
def test_endpoint_that_cannot_be_watched_leaves_no_socket_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    endpoint = UdpEndpoint(bench.loop)
    bench.loop.run_once()
    real = FdRegistry.register
    left = [nth]

    def watch(self: FdRegistry, *args: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "no more watches")
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(FdRegistry, "register", watch)
        with pytest.raises(OSError, match="watches"):
            endpoint.bind("", 0)
    assert endpoint.address is None
    assert endpoint.sockets == []
    assert bench.loop.fd_count() == 0
    endpoint.bind(V4, 0)
    endpoint.shutdown()
    bench.turns()


class Stubborn:
    """A socket's method that has to be called again the first time."""

    def __init__(self, code: int, real: Any) -> None:
        self.codes = [code]
        self.real = real

    def __call__(self, *args: Any) -> Any:
        if self.codes:
            raise OSError(self.codes.pop(), "again")
        return self.real(*args)


@AGAIN
def test_receive_that_has_to_be_made_again_is_no_error(bench: Bench, code: int) -> None:
    endpoint, heard = bench.endpoint()
    [channel] = endpoint._channels
    channel.recvfrom = Stubborn(code, channel.recvfrom)
    bench.peer().sendto(b"hello", (V4, port_of(endpoint)))
    assert data_of(bench.hear(heard)) == [b"hello"]


@AGAIN
def test_send_that_has_to_be_made_again_is_no_error(bench: Bench, code: int) -> None:
    endpoint, heard = bench.endpoint()
    peer = bench.peer()
    [channel] = endpoint._channels
    channel.sendto = Stubborn(code, channel.sendto)
    assert endpoint.send(b"hello", V4, port_of(peer))
    assert len(channel.queue) == 1
    bench.run(lambda: not channel.queue)
    assert peer.recv(100) == b"hello"
    assert heard.take() == []
    assert isinstance(peer, socket.socket)
