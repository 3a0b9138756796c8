"""Ask a DNS server. Usage: dns_query.py NAME [TYPE [SERVER [PORT]]]

TYPE is A, AAAA, CNAME, MX or NS; SERVER is an address. Left out, they are A and the system's
resolver. Datagrams get lost: it asks again when no answer comes.
"""

import ipaddress
import secrets
import signal
import struct
import sys

import thor

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "MX": 15, "AAAA": 28}
ERRORS = {1: "format error", 2: "server failure", 3: "no such name", 5: "refused"}
TRIES, WAIT_S = 4, 1.0


def system_server():
    with open("/etc/resolv.conf") as file:
        lines = [line.split() for line in file]
    return next((line[1] for line in lines if line[:1] == ["nameserver"]), "127.0.0.1")


def make_query(name, kind):
    """Header and question (RFC 1035 section 4.1); the answer repeats the random number."""
    labels = [label.encode("idna") for label in name.split(".") if label]
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    header = struct.pack("!6H", secrets.randbits(16), 0x0100, 1, 0, 0, 0)
    return header + question + struct.pack("!2H", kind, 1)


def read_name(message, at):
    """Return a name, which may go on further up (section 4.1.4), and where it ends here."""
    labels, start, end = [], at, 0
    while length := message[at]:
        if length < 0xC0:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace"))
            at += 1 + length
        else:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            if at >= start:
                raise ValueError("a name that does not end")
            start = at
    return ".".join(labels) or ".", end or at + 1


def read_data(message, kind, at, length):
    if kind in (TYPES["A"], TYPES["AAAA"]):
        return ipaddress.ip_address(message[at : at + length])
    if kind in (TYPES["NS"], TYPES["CNAME"]):
        return read_name(message, at)[0]
    if kind == TYPES["MX"]:
        return f"{int.from_bytes(message[at : at + 2])} {read_name(message, at + 2)[0]}"
    return message[at : at + length].hex()


def show(message):
    """Print the answers (section 4.1.3), or why there are none."""
    flags, _, count = struct.unpack_from("!3H", message, 2)
    if error := flags & 0x000F:
        sys.exit(f"{name}: {ERRORS.get(error, f'error {error}')}")
    if flags & 0x0200:
        print("the answer did not fit: this is its beginning", file=sys.stderr)
    at = len(query)
    for _ in range(count):
        owner, at = read_name(message, at)
        kind, _, ttl, length = struct.unpack_from("!2HIH", message, at)
        label = next((label for label, number in TYPES.items() if number == kind), kind)
        print(owner, ttl, label, read_data(message, kind, at + 10, length))
        at += 10 + length


def ask(tries):
    if tries == 0:
        sys.exit(f"{server}: no answer")
    endpoint.send(query, server, port)
    thor.schedule(WAIT_S, ask, tries - 1)


def datagram(data, host, sender_port):
    # Anybody can send to this port.
    ours = data[:2] == query[:2] and data[12 : len(query)] == query[12:] and data[2] & 0x80
    if ours and (host, sender_port) == (server, port):
        try:
            show(data)
        except (struct.error, IndexError, ValueError) as exc:
            sys.exit(f"{server}: not a proper answer: {exc}")
        thor.stop()


def socket_error(errtype, error):
    sys.exit(f"{server}: {endpoint.error}")


if not 2 <= len(sys.argv) <= 5:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
name, *more = sys.argv[1:]
kind, server, port = [*more, *["A", None, 53][len(more) :]]
server, port = str(ipaddress.ip_address(server or system_server())), int(port)
query = make_query(name, TYPES[kind.upper()])
endpoint = thor.UdpEndpoint()
endpoint.on("datagram", datagram)
endpoint.on("socket_error", socket_error)
endpoint.pause(False)
ask(TRIES)

for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: thor.stop())

thor.run()
