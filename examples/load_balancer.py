"""Share requests out among origins. Usage: load_balancer.py HOST PORT ORIGIN...

The origins take turns. One that cannot be reached is left out for a while, and its request goes to
the next. Each response says who made it, and each request is logged.
"""

import signal
import sys

import thor
from thor.proxy import ReverseProxy, Upstream

if len(sys.argv) < 4:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
host, port, *origins = sys.argv[1:]
balancer = ReverseProxy(host, port, Upstream(origins, name="example"))


@thor.on(balancer)
def response(flow):
    flow.response_headers.append((b"x-served-by", flow.endpoint.name))


@thor.on(balancer)
def done(flow):
    line = flow.method + b" " + flow.path
    status = flow.status.decode() if flow.status else "-"
    endpoint = flow.endpoint.name.decode() if flow.endpoint else "-"
    took = f"{flow.duration_s * 1000:.1f} ms"
    print(flow.client.address[0], line.decode("latin-1"), status, endpoint, took, flush=True)


@thor.on(balancer)
def start():
    print(f"listening on http://{host}:{balancer.address[1]}/", flush=True)


balancer.on("stop", thor.stop)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: balancer.graceful_shutdown())
thor.run()
