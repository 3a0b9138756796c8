"""A reverse proxy that upper-cases plain text. Usage: transformer.py HOST PORT ORIGIN

The text is changed while it streams: no more of it is in memory than is on its way. What the
change makes untrue of the message is changed with it: its length, its entity tag, its ranges.
"""

import codecs
import signal
import sys

import thor
from thor.http import get_header
from thor.http.error import OutputStateError

#: What the origin must not be asked for: codings that would have to be undone, parts of a text.
NOT_ASKED = {b"accept-encoding", b"range", b"if-range"}
#: What is no longer true of a text that was changed.
UNTRUE = {b"content-length", b"accept-ranges", b"content-digest", b"repr-digest", b"content-md5"}


def is_changed(status, headers):
    """Whether a response is to be changed: plain text that is whole, plain and permitted."""
    media_type = b"".join(get_header(headers, "content-type")).partition(b";")[0]
    # An origin can forbid it (RFC 9110 section 7.7).
    permitted = b"no-transform" not in get_header(headers, "cache-control")
    plain = not get_header(headers, "content-encoding") and status != b"206"
    return media_type.strip().lower() == b"text/plain" and plain and permitted


def change_field(name, value):
    """Weaken the entity tag: a changed text is the same in meaning, not to the octet."""
    if name.lower() == b"etag" and not value.startswith(b"W/"):
        value = b"W/" + value
    return name, value


class Transformer:
    """One exchange, and the one upstream; the sink of the latter's response."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.upstream = client.exchange()
        self.decoder = None
        exchange.sink(self.upstream)
        self.upstream.sink(self)
        exchange.on("request_start", self.request_start)
        exchange.on("error", lambda err: self.upstream.cancel())

    def request_start(self, method, uri, headers):
        if not uri.startswith(b"/"):  # `*`, an absolute URI, CONNECT: no path of the origin's
            self.answer(400, "Bad Request")
            return
        asked = [field for field in headers if field[0].lower() not in NOT_ASKED]
        self.upstream.request_start(method, origin + uri, [*asked, ("Via", "1.1 example")])

    def response_start(self, status, phrase, headers):
        if is_changed(status, headers):
            # A character may be cut in two by the end of a chunk.
            self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
            headers = [change_field(*f) for f in headers if f[0].lower() not in UNTRUE]
        self.exchange.response_start(status, phrase, headers)

    def response_body(self, chunk):
        if self.decoder is not None:
            chunk = self.decoder.decode(chunk).upper()
        self.exchange.response_body(chunk)

    def response_done(self, trailers):
        if self.decoder is not None:
            self.exchange.response_body(self.decoder.decode(b"", final=True).upper())
        self.exchange.response_done(trailers)

    def response_nonfinal(self, status, phrase, headers):
        self.exchange.response_nonfinal(status, phrase, headers)

    def pause(self, paused):
        self.exchange.pause(paused)

    def error(self, err):
        try:
            self.answer(502, "Bad Gateway")
        except OutputStateError:  # half of a response has left: nobody may take it for whole
            self.exchange.http_conn.tcp_conn.abort()

    def answer(self, status, phrase):
        self.exchange.response_start(status, phrase, [])
        self.exchange.response_done([])


if len(sys.argv) != 4:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
host, port, origin = sys.argv[1], sys.argv[2], sys.argv[3].rstrip("/").encode()
client = thor.HttpClient()
server = thor.HttpServer(host, port)
server.on("exchange", Transformer)
server.on("start", lambda: print(f"listening on http://{host}:{server.address[1]}/", flush=True))
server.on("stop", thor.stop)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: server.graceful_shutdown())
thor.run()
