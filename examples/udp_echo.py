"""A UDP server that sends back what it gets. Usage: udp_echo.py [HOST PORT]"""

import signal
import sys

import thor

host, port = sys.argv[1:] or ("127.0.0.1", 8000)
endpoint = thor.UdpEndpoint()
# What a `datagram` comes with is what `send` takes: the data, its sender's host and port.
endpoint.on("datagram", endpoint.send)
endpoint.on("start", lambda: print(f"listening on {host}:{endpoint.address[1]}", flush=True))
endpoint.on("stop", thor.stop)
endpoint.bind(host, port)
# Endpoints start paused, so that nothing comes before the listeners are in place.
endpoint.pause(False)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: endpoint.shutdown())

thor.run()
