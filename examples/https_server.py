"""An HTTPS server that says what it knows of its client.

Usage: https_server.py [HOST PORT [CERTIFICATE KEY]]; without a certificate it makes one for itself.
"""

import signal
import sys

import thor
import thor.tls


def answer(exchange):
    conn = exchange.http_conn.tcp_conn
    lines = [
        f"TLS: {conn.tls_version}, {conn.cipher}",
        f"session: {'resumed' if conn.session_reused else 'new'}",
        f"you asked for: {conn.server_name}",
    ]
    exchange.response_start(200, "OK", [("Content-Type", "text/plain")])
    exchange.response_body("\n".join(lines) + "\n")
    exchange.response_done([])


def tls_error(address, error):
    print(f"{address[0]}: {thor.tls.reason_of(error)}", file=sys.stderr)


host, port = sys.argv[1:3] or ("127.0.0.1", 8443)
# A certificate and its key, as files; or as made here, which no client trusts without being told.
certified = sys.argv[3:] or thor.tls.self_signed(["localhost", "127.0.0.1"])

server = thor.HttpServer(host, port, tls=thor.tls.server_context(*certified))
server.on("exchange", answer)
server.on("tls_error", tls_error)
server.on("start", lambda: print(f"listening on https://{host}:{server.address[1]}/", flush=True))
server.on("stop", thor.stop)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())

thor.run()
