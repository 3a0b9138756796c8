"""What the published documentation says of TCP."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from published_support import documents, example, start_python

import thor
import thor_support
from thor.testing import Recorder, connection_pair, settle
from thor_support import host_and_port, run_loop


class Echo:
    """A real TCP server on the default loop, and what happens on its connections."""

    def __init__(self) -> None:
        self.server = thor.TcpServer("127.0.0.1", 0)
        self.server.on("connect", self.connect)
        self.connections: list[Any] = []

    def connect(self, conn: Any) -> None:
        self.connections.append(conn)
        conn.on("data", conn.write)
        conn.pause(False)


@documents("thor.TcpClient ( loop )")
def test_the_tcp_clients_example_runs_with_its_two_slips_corrected() -> None:
    source = example("c = thor.TcpClient()")
    source = source.replace("sys.argv[1:2]", "sys.argv[1:3]")
    source = source.replace("sys.stdout.write", "sys.stdout.buffer.write")
    asked: list[bytes] = []

    def answer(conn: Any) -> None:
        def data(request: bytes) -> None:
            asked.append(request)
            conn.write("<h1>Hello</h1>")
            conn.close()

        conn.on("data", data)
        conn.pause(False)

    server = thor.TcpServer("127.0.0.1", 0)
    server.on("connect", answer)
    result = run_example(source, *map(str, server.address))
    assert result == (0, "<h1>Hello</h1>", "")
    assert asked == [b"GET /\n\n"]


def test_the_tcp_clients_example_says_why_there_is_no_connection() -> None:
    source = example("c = thor.TcpClient()").replace("sys.argv[1:2]", "sys.argv[1:3]")
    result = run_example(source, "127.0.0.1", str(thor_support.free_port()))
    assert result == (0, "", str(socket.error))


def run_example(source: str, *args: str) -> tuple[int, str, str]:
    """Run an example as a program, while the default loop runs here.

    Returns: its exit code, and what it wrote to stdout and stderr
    """
    results: list[Any] = []
    process = start_python(source, *args)

    def done(result: Any, exc: BaseException | None) -> None:
        results.append(exc or result)
        thor.loop.stop()

    thor.loop.run_in_thread(process.communicate, None, 20, then=done)
    try:
        run_loop(thor.loop, timeout_s=30)
    finally:
        process.kill()
        process.communicate()
    out, err = results[0]
    return process.returncode, out, err


@documents("thor.TcpClient.connect ( host, port, timeout )", "event 'connect' ( connection )")
@pytest.mark.parametrize("port_type", [int, str])
def test_connect_emits_a_connection(port_type: type) -> None:
    echo = Echo()
    heard: list[bytes] = []
    client = thor.TcpClient()

    @thor.on(client)
    def connect(conn: Any) -> None:
        conn.on("data", heard.append)
        conn.on("data", lambda data: thor.loop.stop())
        conn.write("hello")
        conn.pause(False)

    host, port = host_and_port(echo.server)
    client.connect(host, port_type(port), 5)
    run_loop(thor.loop)
    assert heard == [b"hello"]


@documents("event 'connect_error' ( errtype, error )")
def test_connect_error_tells_of_a_refusal_with_its_errno() -> None:
    errors: list[tuple[type, int]] = []
    client = thor.TcpClient()
    client.on("connect_error", lambda *error: errors.append(error))
    client.on("connect_error", lambda *error: thor.loop.stop())
    client.connect("127.0.0.1", thor_support.free_port())
    run_loop(thor.loop)
    assert errors == [(socket.error, errno.ECONNREFUSED)]


def test_connect_error_tells_of_a_time_out_with_etimedout() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    errors: list[tuple[type, int]] = []
    # Once the queue of the listening socket is full, the kernel answers nobody.
    fill = [socket.socket() for _ in range(4)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(listening.getsockname())
    client = thor.TcpClient()
    client.on("connect", lambda conn: thor.loop.stop())
    client.on("connect_error", lambda *error: errors.append(error))
    client.on("connect_error", lambda *error: thor.loop.stop())
    host, port = listening.getsockname()
    client.connect(host, port, 0.05)
    run_loop(thor.loop)
    for sock in [listening, *fill]:
        sock.close()
    assert errors == [(socket.error, errno.ETIMEDOUT)]


def test_connect_error_tells_of_a_name_that_is_none() -> None:
    errors: list[tuple[type, int]] = []
    client = thor.TcpClient()
    client.on("connect_error", lambda *error: errors.append(error))
    client.on("connect_error", lambda *error: thor.loop.stop())
    client.connect("not a name", 80)
    run_loop(thor.loop)
    [(errtype, code)] = errors
    assert (errtype, isinstance(code, int)) == (socket.gaierror, True)


@documents("thor.TcpServer ( host, port, loop )")
def test_the_tcp_servers_example_runs() -> None:
    accepted: list[Any] = []
    made: list[thor.TcpServer] = []

    class AnyPort(thor.TcpServer):
        def __init__(self, host: str, port: int) -> None:
            assert (host, port) == ("localhost", 8000)
            super().__init__(host, 0)
            made.append(self)

    def handle_conn(conn: Any) -> None:
        accepted.append(conn)
        thor.loop.stop()

    exec(example('s = TcpServer("localhost"'), {"TcpServer": AnyPort, "handle_conn": handle_conn})
    with socket.create_connection(host_and_port(made[0]), timeout=5):
        run_loop(thor.loop)
    assert isinstance(accepted[0], thor.tcp.TcpConnection)


@documents("thor.TcpServer.close ()")
def test_a_tcp_server_starts_accepts_and_stops() -> None:
    server = thor.TcpServer("127.0.0.1", 0)
    heard = Recorder(server, "start", "connect", "stop")
    with socket.create_connection(host_and_port(server), timeout=5):
        run_loop(thor.loop, lambda: len(heard.events) == 2)
        assert [event for event, *_ in heard.events] == ["start", "connect"]
        conn = heard.take()[1][1]
        server.close()
        run_loop(thor.loop, lambda: heard.events)
        assert heard.take() == [("stop",)]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(host_and_port(server), timeout=5)
    conn.abort()
    run_loop(thor.loop, lambda: thor.loop.fd_count() == 0)


@documents("thor.tcp.TcpConnection ()", "event 'data' ( data )")
def test_a_connection_starts_paused_and_then_emits_data() -> None:
    client, server = connection_pair()
    heard = Recorder(server, "data")
    client.write("hello")
    settle(client.loop)
    assert heard.take() == []
    server.pause(False)
    settle(client.loop)
    assert heard.take() == [("data", b"hello")]


@documents("event 'close' ()")
def test_close_is_emitted_when_the_other_side_closes() -> None:
    client, server = connection_pair()
    heard = Recorder(server, "close")
    server.pause(False)
    client.close()
    settle(client.loop)
    assert heard.take() == [("close",)]


def test_close_is_emitted_when_the_network_fails() -> None:
    client, server = connection_pair()
    heard = Recorder(server, "close")
    server.pause(False)
    server.socket.reset(errno.ETIMEDOUT)  # type: ignore[attr-defined]
    settle(client.loop)
    assert heard.take() == [("close",)]
    client.abort()
    settle(client.loop)


@documents("event 'pause' ( paused )", "thor.tcp.TcpConnection.write ( data )")
def test_pause_is_emitted_when_the_buffers_are_full_and_when_they_are_not() -> None:
    client, server = connection_pair()
    heard = Recorder(client, "pause")
    assert client.write(b"x" * 100) is True
    assert client.write(b"x" * 1_000_000) is False
    settle(client.loop)
    assert heard.take() == [("pause", True)]
    server.pause(False)
    settle(client.loop)
    assert heard.take() == [("pause", False)]
    assert server.bytes_read == 1_000_100


@documents("thor.tcp.TcpConnection.pause ( paused )")
def test_pause_stops_data_and_resumes_it() -> None:
    client, server = connection_pair()
    heard = Recorder(server, "data")
    server.pause(False)
    server.once("data", lambda data: server.pause(True))
    client.write("one")
    settle(client.loop)
    client.write("two")
    settle(client.loop)
    assert heard.take() == [("data", b"one")]
    server.pause(False)
    settle(client.loop)
    assert heard.take() == [("data", b"two")]


@documents("thor.tcp.TcpConnection.close ()")
def test_close_first_writes_what_is_queued() -> None:
    client, server = connection_pair()
    heard = Recorder(server, "data", "close")
    server.pause(False)
    client.write(b"x" * 1_000_000)
    client.close()
    settle(client.loop)
    assert heard.take() == [("data", b"x" * 1_000_000), ("close",)]
