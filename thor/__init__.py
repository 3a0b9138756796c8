"""Thor: evented I/O and HTTP for building intermediaries."""

from thor import dns, events, http, loop, tcp, tls, types, udp, workers
from thor.events import EventEmitter, on
from thor.http import HttpClient, HttpServer
from thor.loop import run, schedule, stop, time
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.tls import TlsClient, TlsServer
from thor.udp import UdpEndpoint

__version__ = "1.0.0.dev0"
