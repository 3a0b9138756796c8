"""A TCP relay that tells its target who the client is, by the PROXY protocol (version 2).

Usage: tcp_relay.py [HOST PORT [TARGET-HOST TARGET-PORT]]; a host may be unix:PATH as well. Started
by systemd with a socket unit, it listens on the socket that it is passed.
"""

import signal
import sys

import thor


def relay(conn):
    client = thor.TcpClient()
    client.proxy_header = thor.tcp.ProxyHeader(conn.address, conn.local_address)
    client.on("connect", lambda target: thor.join(conn, target))
    client.on("connect_error", lambda errtype, error: conn.abort())
    client.connect(target_host, target_port, timeout=10)


host, port, target_host, target_port = (
    sys.argv[1:] + ["127.0.0.1", "8000", "127.0.0.1", "8001"][len(sys.argv) - 1 :]
)
passed = thor.tcp.listen_fds()
server = thor.TcpServer(host, port, sock=passed[0] if passed else None)
server.on("connect", relay)
where = server.address if isinstance(server.address, str) else f"{host}:{server.address[1]}"
server.on("start", lambda: print(f"listening on {where}", flush=True))
server.on("stop", thor.stop)


def stop(signum, frame):
    """Wait for the clients to finish, which is theirs to decide; but not for ever."""
    server.graceful_shutdown()
    thor.schedule(5, server.shutdown)


for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, stop)

thor.run()
