"""The server under test, on the documented API. Usage: thor_server.py PORT"""

import sys

import thor

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def answer(exchange):
    @thor.on(exchange)
    def request_start(method, uri, headers):
        exchange.response_start(200, "OK", HEADERS)
        exchange.response_body("Hello, world!")
        exchange.response_done([])


server = thor.HttpServer("127.0.0.1", int(sys.argv[1]))
server.idle_timeout = 600
server.on("exchange", answer)
thor.run()
