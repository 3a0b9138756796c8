"""thor 0.17 as a server. Usage: thor017_server.py PORT"""

import sys

import thor

HEADERS = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"13")]


def answer(exchange):
    @thor.events.on(exchange)
    def request_start(method, uri, headers):
        exchange.response_start(b"200", b"OK", HEADERS)
        exchange.response_body(b"Hello, world!")
        exchange.response_done([])


server = thor.http.HttpServer(b"127.0.0.1", int(sys.argv[1]))
server.idle_timeout = 600
server.on("exchange", answer)
thor.run()
