"""A reverse proxy from two exchanges. Usage: reverse_proxy.py HOST PORT ORIGIN"""

import signal
import sys

import thor


def relay(exchange):
    upstream = thor.HttpClient().exchange()  # All clients of a loop share one pool.
    # What the one emits is a method of the other: bodies, their ends, and `pause`, both ways.
    exchange.sink(upstream)
    upstream.sink(exchange)

    @thor.on(exchange)
    def request_start(method, uri, headers):
        if not uri.startswith(b"/"):  # `*`, an absolute URI, CONNECT: no path of the origin's.
            return answer(400, "Bad Request")
        upstream.request_start(method, origin + uri, [*headers, ("Via", "1.1 example")])

    def answer(status, phrase):
        try:
            exchange.response_start(status, phrase, [])
            exchange.response_done([])
        except thor.http.error.OutputStateError:  # Half of it has left: it must not look whole.
            exchange.http_conn.tcp_conn.abort()

    upstream.on("error", lambda err: answer(502, "Bad Gateway"))
    exchange.on("error", lambda err: upstream.cancel())


if len(sys.argv) != 4:
    sys.exit(print(__doc__, file=sys.stderr) or 2)
host, port, origin = sys.argv[1], sys.argv[2], sys.argv[3].rstrip("/").encode()
server = thor.HttpServer(host, port).on("exchange", relay).on("stop", thor.stop)
server.on("start", lambda: print(f"listening on http://{host}:{server.address[1]}/", flush=True))
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())
thor.run()
