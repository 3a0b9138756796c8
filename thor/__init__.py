"""Thor: evented I/O and HTTP for building intermediaries."""

from thor import dns, events, http, loop, tcp, types
from thor.events import EventEmitter, on
from thor.http import HttpClient, HttpServer
from thor.loop import run, schedule, stop, time
from thor.tcp import TcpClient, TcpConnection, TcpServer

__version__ = "1.0.0.dev0"
