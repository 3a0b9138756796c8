"""A TCP server that sends back what it gets. Usage: tcp_echo_server.py [HOST PORT]"""

import signal
import sys

import thor


def echo(conn):
    conn.on("data", conn.write)
    # A client that sends and does not read fills the queue: read on when it has shrunk.
    conn.on("pause", conn.pause)
    # Connections start paused, so that nothing comes before the listeners are in place.
    conn.pause(False)


host, port = sys.argv[1:] or ("127.0.0.1", 8000)
server = thor.TcpServer(host, port)
server.on("connect", echo)
server.on("start", lambda: print(f"listening on {host}:{server.address[1]}", flush=True))
server.on("stop", thor.stop)


def stop(signum, frame):
    """Wait for the clients to finish, which is theirs to decide; but not for ever."""
    server.graceful_shutdown()
    thor.schedule(5, server.shutdown)


for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, stop)

thor.run()
