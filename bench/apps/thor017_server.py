"""thor 0.17 as a server. Usage: thor017_server.py PORT"""

import sys

import thor

HEADERS = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"13")]
HELLO = b"Hello, world!"
LARGE = b"x" * 1048576
LARGE_HEADERS = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"1048576")]


def respond(exchange, headers, body):
    exchange.response_start(b"200", b"OK", headers)
    exchange.response_body(body)
    exchange.response_done([])


def answer(exchange):
    @thor.events.on(exchange)
    def request_start(method, uri, headers):
        if method == b"POST":
            exchange.on("request_done", lambda trailers: respond(exchange, HEADERS, HELLO))
        elif uri == b"/large":
            respond(exchange, LARGE_HEADERS, LARGE)
        else:
            respond(exchange, HEADERS, HELLO)


server = thor.http.HttpServer(b"127.0.0.1", int(sys.argv[1]))
server.idle_timeout = 600
server.on("exchange", answer)
thor.run()
