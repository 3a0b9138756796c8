"""A reverse proxy from two exchanges, on the documented API. Usage: thor_proxy.py PORT ORIGIN"""

import sys

import thor

ORIGIN = f"http://127.0.0.1:{sys.argv[2]}".encode()
client = thor.HttpClient()


def relay(exchange):
    upstream = client.exchange()

    @thor.on(exchange)
    def request_start(method, uri, headers):
        upstream.request_start(method, ORIGIN + uri, headers)

    exchange.on("request_body", upstream.request_body)
    exchange.on("request_done", upstream.request_done)
    exchange.on("pause", upstream.pause)
    upstream.on("response_start", exchange.response_start)
    upstream.on("response_body", exchange.response_body)
    upstream.on("response_done", exchange.response_done)
    upstream.on("pause", exchange.pause)
    exchange.on("error", lambda error: upstream.cancel())

    @thor.on(upstream)
    def error(error):
        exchange.response_start(502, "Bad Gateway", [("Content-Length", "0")])
        exchange.response_done([])


server = thor.HttpServer("127.0.0.1", int(sys.argv[1]))
server.on("exchange", relay)
thor.run()
