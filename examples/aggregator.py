"""Ask several origins at once and join what they say. Usage: aggregator.py HOST PORT ORIGIN...

Each origin has its own time to answer. The response is JSON, with an entry for each of them:
what it answered, or why it did not.
"""

import json
import signal
import sys
from functools import partial

import thor

#: How long an origin may take, in seconds, and how much of its answer is taken, in bytes.
TIMEOUT_S = 2.0
MAX_BYTES = 1024 * 1024


def aggregate(exchange):
    entries = {}
    fetches = []

    def answered(origin, response, error):
        if error is not None:
            entries[origin] = {"error": str(error)}
        else:
            entries[origin] = {"status": response.status, "body": response.text()}
        if len(entries) == len(origins):
            in_order = {origin: entries[origin] for origin in origins}
            exchange.response_start(200, "OK", [("Content-Type", "application/json")])
            exchange.response_body(json.dumps(in_order, indent=2) + "\n")
            exchange.response_done([])

    @thor.on(exchange)
    def request_start(method, uri, headers):
        if not uri.startswith(b"/"):  # `*`, an absolute URI, CONNECT: no path to ask for
            exchange.response_start(400, "Bad Request", [])
            exchange.response_done([])
            return
        for origin in origins:
            fetch = client.fetch(
                origin.encode() + uri,
                max_body_bytes=MAX_BYTES,
                timeout=TIMEOUT_S,
                then=partial(answered, origin),
            )
            fetches.append(fetch)

    @thor.on(exchange)
    def error(err):
        for fetch in fetches:
            fetch.cancel()


if len(sys.argv) < 4:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
host, port, *origins = dict.fromkeys(sys.argv[1:])
client = thor.HttpClient()
client.retry_limit = 0
server = thor.HttpServer(host, port)
server.on("exchange", aggregate)
server.on("start", lambda: print(f"listening on http://{host}:{server.address[1]}/", flush=True))
server.on("stop", thor.stop)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())
thor.run()
