"""An HTTP server that greets. Usage: hello_server.py [HOST PORT]; port 0 is any that is free."""

import signal
import sys

import thor


def greet(exchange):
    # Nothing of the request is needed, so it can be answered before it is read.
    exchange.response_start(200, "OK", [("Content-Type", "text/plain")])
    exchange.response_body("Hello, world!\n")
    exchange.response_done([])


host, port = sys.argv[1:] or ("127.0.0.1", 8000)
server = thor.HttpServer(host, port)
server.on("exchange", greet)
server.on("start", lambda: print(f"listening on http://{host}:{server.address[1]}/", flush=True))
server.on("stop", thor.stop)

# What is being answered is finished, then the server emits `stop`.
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())

thor.run()
