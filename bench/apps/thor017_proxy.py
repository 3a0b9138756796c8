"""thor 0.17, its server joined to its client. Usage: thor017_proxy.py PORT ORIGIN"""

import sys

import thor

ORIGIN = f"http://127.0.0.1:{sys.argv[2]}".encode()
client = thor.http.HttpClient()
client.max_server_conn = 1024


def relay(exchange):
    upstream = client.exchange()

    @thor.events.on(exchange)
    def request_start(method, uri, headers):
        upstream.request_start(method, ORIGIN + uri, headers)

    exchange.on("request_body", upstream.request_body)
    exchange.on("request_done", upstream.request_done)
    exchange.on("pause", upstream.res_body_pause)
    upstream.on("response_start", exchange.response_start)
    upstream.on("response_body", exchange.response_body)
    upstream.on("response_done", exchange.response_done)
    upstream.on("pause", exchange.http_conn.req_body_pause)

    @thor.events.on(upstream)
    def error(error):
        exchange.response_start(b"502", b"Bad Gateway", [(b"Content-Length", b"0")])
        exchange.response_done([])


server = thor.http.HttpServer(b"127.0.0.1", int(sys.argv[1]))
server.on("exchange", relay)
thor.run()
