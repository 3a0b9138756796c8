"""The server under test, on the documented API. Usage: thor_server.py PORT [CERTIFICATE KEY]"""

import sys

import thor

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]
LARGE = b"x" * 1048576
LARGE_HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "1048576")]


def hello(exchange):
    exchange.response_start(200, "OK", HEADERS)
    exchange.response_body("Hello, world!")
    exchange.response_done([])


def large(exchange):
    exchange.response_start(200, "OK", LARGE_HEADERS)
    exchange.response_body(LARGE)
    exchange.response_done([])


def answer(exchange):
    @thor.on(exchange)
    def request_start(method, uri, headers):
        if method == b"POST":
            exchange.on("request_done", lambda trailers: hello(exchange))
        elif uri == b"/large":
            large(exchange)
        else:
            hello(exchange)


port, *files = sys.argv[1:]
tls = thor.tls.server_context(*files) if files else None
server = thor.HttpServer("127.0.0.1", int(port), tls=tls)
server.idle_timeout = 600
server.on("exchange", answer)
server.on("tls_error", lambda *_: None)  # whoever asks whether it is there says nothing
thor.run()
