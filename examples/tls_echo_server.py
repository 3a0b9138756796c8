"""A TLS server that sends back what it gets.

Usage: tls_echo_server.py [HOST PORT [CERTIFICATE KEY]]

Without a certificate it makes one for localhost, which only those accept who do not verify it:

    openssl s_client -connect localhost:8443 -servername localhost

SIGHUP has it read its files again; they are looked at from time to time as well.
"""

import signal
import sys

import thor
from thor.tls import reason_of, self_signed, server_context


def echo(conn):
    print(f"{conn.address[0]}: {conn.tls_version}, name {conn.server_name}", flush=True)
    conn.on("data", conn.write)
    # A client that sends and does not read fills the queue: read on when it has shrunk.
    conn.on("pause", conn.pause)
    # Connections start paused, so that nothing comes before the listeners are in place.
    conn.pause(False)


def refused(address, error):
    print(f"{address[0]}: no TLS: {reason_of(error)}", flush=True)


def stop(signum, frame):
    """Wait for the clients to finish, which is theirs to decide; but not for ever."""
    server.graceful_shutdown()
    thor.schedule(5, server.shutdown)


def reload(signum, frame):
    try:
        context.reload()
        print("reloaded", flush=True)
    except (OSError, ValueError) as exc:
        print(f"the old certificate stays: {exc}", file=sys.stderr, flush=True)


host, port, *files = sys.argv[1:] or ("127.0.0.1", 8443)
context = server_context(*(files or self_signed(["localhost", host])))
server = thor.TlsServer(host, port, context=context)
server.on("connect", echo)
server.on("tls_error", refused)
server.on("start", lambda: print(f"listening on {host}:{server.address[1]}", flush=True))
server.on("stop", thor.stop)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, stop)
signal.signal(signal.SIGHUP, reload)

thor.run()
