"""Send a line and print what comes back. Usage: tcp_client.py HOST PORT TEXT"""

import signal
import sys

import thor


def connected(conn):
    conn.on("data", show)
    # Emitted whoever ends the connection, as the last of its events.
    conn.on("disconnect", thor.stop)
    conn.write(text + "\n")
    conn.pause(False)
    # No more will be sent; what the other side still has to say is read.
    conn.end_writing()


def show(data):
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def failed(errtype, error):
    # `error` is an errno, or a code of the resolver; the client keeps the exception itself.
    sys.exit(f"no connection to {host}:{port}: {client.error}")


if len(sys.argv) != 4:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
host, port, text = sys.argv[1:]
client = thor.TcpClient()
client.on("connect", connected)
client.on("connect_error", failed)
client.connect(host, port, timeout=10)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: thor.stop())

thor.run()
