"""Ask several origins at once and join what they say. Usage: aggregator.py HOST PORT ORIGIN...

Each origin has its own time to answer. The response is JSON, with an entry for each of them:
what it answered, or why it did not.
"""

import json
import signal
import sys

import thor

#: How long an origin may take, in seconds, and how much of its answer is taken, in bytes.
TIMEOUT_S = 2.0
MAX_BYTES = 1024 * 1024


class Question:
    """One request to one origin; calls `answered(origin, entry)` once."""

    def __init__(self, origin, uri, answered):
        self.origin = origin
        self.answered = answered
        self.entry = {}
        self.body = bytearray()
        self.exchange = client.exchange()
        self.exchange.sink(self)
        self.exchange.request_start("GET", origin.encode() + uri, [])
        self.exchange.request_done([])

    def response_start(self, status, phrase, headers):
        self.entry["status"] = int(status)

    def response_body(self, chunk):
        self.body += chunk
        if len(self.body) > MAX_BYTES:
            self.exchange.cancel()
            self.finish({"error": "the answer is too long"})

    def response_done(self, trailers):
        self.finish({**self.entry, "body": self.body.decode("utf-8", "replace")})

    def error(self, err):
        self.finish({"error": str(err)})

    def finish(self, entry):
        self.answered(self.origin, entry)


def aggregate(exchange):
    answers = {}
    questions = []

    def answered(origin, entry):
        answers[origin] = entry
        if len(answers) == len(origins):
            in_order = {origin: answers[origin] for origin in origins}
            exchange.response_start(200, "OK", [("Content-Type", "application/json")])
            exchange.response_body(json.dumps(in_order, indent=2) + "\n")
            exchange.response_done([])

    @thor.on(exchange)
    def request_start(method, uri, headers):
        if not uri.startswith(b"/"):  # `*`, an absolute URI, CONNECT: no path to ask for
            exchange.response_start(400, "Bad Request", [])
            exchange.response_done([])
            return
        questions.extend(Question(origin, uri, answered) for origin in origins)

    @thor.on(exchange)
    def error(err):
        for question in questions:
            question.exchange.cancel()


if len(sys.argv) < 4:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
host, port, *origins = dict.fromkeys(sys.argv[1:])
client = thor.HttpClient()
client.exchange_timeout = TIMEOUT_S
client.retry_limit = 0
server = thor.HttpServer(host, port)
server.on("exchange", aggregate)
server.on("start", lambda: print(f"listening on http://{host}:{server.address[1]}/", flush=True))
server.on("stop", thor.stop)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())
thor.run()
