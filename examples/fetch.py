"""Fetch a URL and write the body to standard output. Usage: fetch.py URL"""

import signal
import sys

import thor


def done(response, error):
    if error is not None:
        sys.exit(f"{sys.argv[1]}: {error}")
    print(response.status, response.phrase.decode("latin-1"), file=sys.stderr)
    sys.stdout.buffer.write(response.body)
    thor.stop()


if len(sys.argv) != 2:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
client = thor.HttpClient()
client.connect_timeout = 10
client.read_timeout = 30
client.fetch(sys.argv[1], headers={"Accept": "*/*"}, redirects=10, then=done)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: thor.stop())

thor.run()
