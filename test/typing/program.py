# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""A user's program, in the words of the README and the tutorial.

It is checked, never run: `make type` has mypy and pyright read it beside an installed Thor.
"""

import thor
from thor import EventEmitter, HttpClient, HttpServer, TcpConnection, on, schedule
from thor.events import on as on_event
from thor.files import StaticFiles
from thor.http import HttpClientExchange, HttpServerExchange, get_header, header_names
from thor.http.error import HttpError
from thor.proxy import Flow, ReverseProxy, Upstream
from thor.types import RawHeaderListType

thor.HttpServr  # type: ignore[attr-defined]  # names that Thor has not are errors
version: str = thor.__version__


class Counter(EventEmitter):
    """An emitter of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self) -> None:
        self.count += 1
        self.emit("added", self.count)


counter = Counter().on("added", print)


@on(counter)
def added(count: int) -> None:
    print(count)


on_event(counter, "added")(added)

# -- HTTP ---------------------------------------------------------------------------------------

server: thor.HttpServer = HttpServer("127.0.0.1", 0)


@thor.on(server, "exchange")
def answer(exch: HttpServerExchange) -> None:
    names: set[bytes] = header_names(exch.req_hdrs)
    length: list[bytes] = get_header(exch.req_hdrs, b"content-length")
    exch.response_start(200, "OK", [("Content-Type", "text/plain")])
    exch.response_body(b"%s %s %d" % (exch.method, exch.uri, len(names) + len(length)))
    exch.response_done([])


def fetch(client: HttpClient, uri: str) -> HttpClientExchange:
    exch = client.exchange()

    @thor.on(exch)
    def response_start(status: bytes, phrase: bytes, headers: RawHeaderListType) -> None:
        print(status.decode(), phrase.decode(), len(headers))

    @thor.on(exch)
    def error(err: HttpError) -> None:
        print("no answer:", err.desc, err.detail)
        if isinstance(err, thor.http.error.ConnectError):
            thor.stop()

    exch.on("response_start", response_start).once("error", error)
    exch.request_start("GET", uri, [("Accept", "text/plain")])
    exch.request_done([])
    return exch


client = thor.HttpClient()
client.connect_timeout = 5.0
uri = thor.http.uri.parse_uri("http://127.0.0.1/")[4]
fetch(client, "http://127.0.0.1:8000/").cancel()

# -- a proxy and files --------------------------------------------------------------------------

upstream = Upstream(["http://127.0.0.1:8001", "http://127.0.0.1:8002"])
proxy = ReverseProxy("127.0.0.1", 0, upstream)


@on(proxy)
def request(flow: Flow) -> None:
    if flow.method not in (b"GET", b"HEAD"):
        flow.respond(405, "Method Not Allowed", [("Allow", "GET, HEAD")], "read only\n")


server.on("exchange", StaticFiles("."))

# -- TCP, TLS, UDP ------------------------------------------------------------------------------


def echo(conn: thor.TcpConnection) -> None:
    conn.on("data", conn.write)
    conn.pause(False)


tcp_server = thor.TcpServer("127.0.0.1", 0)
tcp_server.on("connect", echo)


@on(thor.TcpClient().on("connect_error", print))
def connect(conn: TcpConnection) -> None:
    sent: bool = conn.write("hello")
    conn.close() if sent else conn.abort()


context = thor.tls.server_context(certificate="cert.pem", key="key.pem")
thor.TlsServer("127.0.0.1", 0, context=context).on("connect", echo)
thor.TlsClient().connect("127.0.0.1", 4433)

endpoint = thor.UdpEndpoint()
endpoint.bind("127.0.0.1", 0)


@on(endpoint)
def datagram(data: bytes, host: str, port: int) -> None:
    endpoint.send(data, host, port)


# -- the loop -----------------------------------------------------------------------------------

timer = schedule(1.0, print, thor.time())
timer.delete()
thor.loop.debug = True
loop: thor.loop.LoopBase = thor.loop.make(backend="poll")
thor.loop.schedule(0, server.graceful_shutdown)
thor.run()
