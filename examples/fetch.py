"""Fetch a URL and write the body to standard output. Usage: fetch.py URL"""

import signal
import sys

import thor


def response_start(status, phrase, headers):
    print(f"{status.decode()} {phrase.decode('latin-1')}", file=sys.stderr)


def response_body(chunk):
    sys.stdout.buffer.write(chunk)


def response_done(trailers):
    sys.stdout.flush()
    thor.stop()


def error(err):
    # The exchange's last event: nothing of it comes after an error.
    sys.exit(f"{sys.argv[1]}: {err}")


if len(sys.argv) != 2:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
client = thor.HttpClient()
client.connect_timeout = 10
client.read_timeout = 30

exchange = client.exchange()
for listener in response_start, response_body, response_done, error:
    exchange.on(listener.__name__, listener)
exchange.request_start("GET", sys.argv[1], [("Accept", "*/*")])
exchange.request_done([])

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: thor.stop())

thor.run()
