"""The server under test in several processes. Usage: thor_workers.py PORT WORKERS"""

import signal
import sys

import thor
from thor.tcp import WorkerSockets
from thor.workers import Supervisor

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def work(worker):
    [sock] = slots.take(worker.number)
    server = thor.HttpServer(None, None, sock=sock)
    server.idle_timeout = 600
    server.on("exchange", answer)
    server.on("stop", thor.stop)
    worker.when_told(server.shutdown)
    thor.run()


def answer(exchange):
    @thor.on(exchange)
    def request_start(method, uri, headers):
        exchange.response_start(200, "OK", HEADERS)
        exchange.response_body("Hello, world!")
        exchange.response_done([])


port, count = map(int, sys.argv[1:])
slots = WorkerSockets(count)
slots.open("127.0.0.1", port)
supervisor = Supervisor(work, count)
supervisor.on("stop", thor.stop)
signal.signal(signal.SIGTERM, lambda *_: supervisor.graceful_shutdown())
thor.run()
