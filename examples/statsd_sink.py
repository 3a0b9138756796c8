"""Add up metrics in the form of statsd. Usage: statsd_sink.py [HOST PORT [SECONDS]]

Datagrams bring lines such as `requests:1|c` (a counter), `load:0.7|g` (a gauge) and `answer:12|ms`
(a time). Every so many seconds, and at the end, it prints the counters' sums, the gauges' last
values, and the median of the last thousand times.
"""

import math
import signal
import sys
from collections import Counter, defaultdict, deque
from statistics import median

import thor

#: What comes from outside must not fill the memory.
MAX_NAMES, MAX_TIMES = 10_000, 1_000

counters, gauges, times = Counter(), {}, defaultdict(lambda: deque(maxlen=MAX_TIMES))


def add(line):
    name, value, kind, rate = parse(line)
    if kind not in ("c", "g", "ms"):
        raise ValueError("no such kind")
    known = name in {"c": counters, "g": gauges, "ms": times}[kind]
    if not known and len(counters) + len(gauges) + len(times) >= MAX_NAMES:
        raise ValueError("too many names")
    if kind == "c":
        counters[name] += value / rate
    elif kind == "g":
        gauges[name] = value
    else:
        times[name].append(value)


def parse(line):
    """`name:value|kind`, with `|@rate` where only some are sent: 0.1 is one in ten."""
    name, _, rest = line.rpartition(":")
    value, kind, *more = rest.split("|")
    number = float(value)
    rate = float(more[0].removeprefix("@")) if more else 1.0
    if not (math.isfinite(number) and 0 < rate <= 1):
        raise ValueError("no such number")
    return name, number, kind, rate


def datagram(data, host, port):
    for line in data.decode("utf-8", "replace").splitlines():
        try:
            add(line)
        except ValueError as exc:
            print(f"from {host}: {line!r}: {exc}", file=sys.stderr)


def show():
    for name, total in sorted(counters.items()):
        print(f"{name} {total:g}")
    for name, value in sorted(gauges.items()):
        print(f"{name} {value:g}")
    for name, values in sorted(times.items()):
        print(f"{name} {median(values):g} ms")
    sys.stdout.flush()
    counters.clear()
    times.clear()


def tick():
    show()
    thor.schedule(seconds, tick)


host, port, *more = sys.argv[1:] or ("127.0.0.1", 8125)
seconds = float(more[0]) if more else 10.0
endpoint = thor.UdpEndpoint()
endpoint.on("datagram", datagram)
endpoint.on("start", lambda: print(f"listening on {host}:{endpoint.address[1]}", flush=True))
endpoint.on("stop", thor.stop)
endpoint.bind(host, port)
endpoint.pause(False)
thor.schedule(seconds, tick)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: endpoint.shutdown())

thor.run()
show()
