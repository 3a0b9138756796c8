"""Where a command listens: arguments, sockets, certificates.

Owns: `--listen` and the options that belong to it, and the servers of a command. Must not know any
command, nor what its servers serve.

Theory of operation: `listen_all` has the command make a server for each address. The addresses are
those of `--listen`, else the sockets that a service manager has passed (LISTEN_FDS), else the
command's default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from thor.cli.common import DRAIN_S, EXIT_USAGE, CommandError, address, seconds
from thor.http import HttpServer
from thor.http.client.connect import ALPN_PROTOCOLS
from thor.tcp import ListenSocket, listen_fds
from thor.tcp.address import Networks, join_host_port
from thor.tls import server_context

if TYPE_CHECKING:
    from thor.http.server.server import ServerSettings
    from thor.loop import LoopBase
    from thor.proxy import ReverseProxy
    from thor.types import Address

    #: A server of a command.
    Server: TypeAlias = HttpServer | ReverseProxy


#: A host and a port; the port of a Unix socket is 0.
HostPort = tuple[str, int]

#: How long after Ctrl-C the message about open connections is written, in seconds: those that end
#: sooner are not worth one.
REPORT_DELAY_S = 0.1


def add_server_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the arguments of a command that serves."""
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        type=listen_address,
        action="append",
        help="where to listen: HOST:PORT, where port 0 takes a free one, or unix:PATH; may be "
        f"given several times (default: the sockets of LISTEN_FDS, or {default})",
    )
    parser.add_argument(
        "--socket-mode",
        metavar="MODE",
        type=mode,
        help="the permissions of the files of Unix sockets, such as 660",
    )
    parser.add_argument(
        "--certificate", metavar="FILE", help="speak TLS, with this certificate (PEM)"
    )
    parser.add_argument(
        "--key", metavar="FILE", help="its key (PEM), where the certificate's file does not have it"
    )
    parser.add_argument(
        "--client-ca",
        metavar="FILE",
        help="refuse clients that show no certificate of these issuers (PEM)",
    )
    parser.add_argument(
        "--proxy-protocol",
        metavar="NETWORK",
        action="append",
        type=network,
        help="expect a PROXY header from the proxies of this network (unix: for those of a Unix "
        "socket), and nobody else; may be given several times",
    )
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=seconds,
        default=DRAIN_S,
        help=f"how long requests may go on after SIGTERM or Ctrl-C (default: {DRAIN_S:g})",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=count,
        default=1,
        help="how many processes serve, such as one for each core (default: 1)",
    )
    parser.set_defaults(listen_default=address(default))


def listen_address(text: str) -> HostPort:
    """Parse the argument of `--listen`: like `address`, or `unix:PATH`, or `unix:@NAME`."""
    if not text.startswith("unix:"):
        return address(text)
    if text in ("unix:", "unix:@"):
        raise argparse.ArgumentTypeError(f"{text!r} is not unix:PATH, such as unix:/run/thor.sock")
    return text, 0


def mode(text: str) -> int:
    """Parse the permissions of a file, in octal."""
    if not 3 <= len(text) <= 4 or text.strip("01234567") or text[:-3].strip("0"):
        raise argparse.ArgumentTypeError(f"{text!r} is not the mode of a file, such as 660")
    return int(text, 8)


def count(text: str) -> int:
    """Parse a number of processes, 1 to 9999."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, such as 2")
    return int(text)


def network(text: str) -> str:
    """Check a network, an address, or `unix:` for the peers of Unix sockets; return it."""
    try:
        Networks([text])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no network, such as 10.0.0.0/8") from None
    return text


def format_address(address: Address) -> str:
    """Return an address of a socket, or one that a user wrote, as text."""
    if isinstance(address, bytes):  # a Unix socket's abstract name
        return f"unix:@{address[1:].decode('utf-8', 'backslashreplace')}"
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = address[:2]
    if host.startswith("unix:"):
        return str(host)
    return join_host_port(host, port)


def describe_address(address: Address, secure: bool = False) -> str:
    """Return where a server listens: its URL, or its port if it listens on every interface."""
    if not isinstance(address, tuple):
        return format_address(address)
    if address[0] in ("0.0.0.0", "::"):
        return f"port {address[1]} of every interface"
    return f"{'https' if secure else 'http'}://{format_address(address)}/"


@contextmanager
def listen_errors(where: Address) -> Iterator[None]:
    """Turn an error of listening on `where` into a CommandError."""
    try:
        yield
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise CommandError(f"cannot listen on {format_address(where)}: {reason}") from None


def idle_drain_s(args: argparse.Namespace) -> float:
    """Return how long idle connections stay open after the first signal, in seconds.

    It is at most half of `--drain`, so that no idle connection is left at the end of that.
    """
    return min(HttpServer.drain_idle_timeout or 0.0, float(args.drain) / 2)


class Servers:
    """All servers of a command."""

    def __init__(self, servers: Sequence[Server], loop: LoopBase) -> None:
        """Stop the loop when all `servers` have emitted `stop`."""
        self._servers = servers
        self._running = len(servers)
        self._loop = loop
        for server in servers:
            server.on("stop", self._stopped)

    def graceful_shutdown(self) -> None:
        """Shut down gracefully."""
        for server in self._servers:
            server.graceful_shutdown()

    def interrupt(self, report: Callable[[int], object]) -> None:
        """Shut down gracefully, and close idle connections at once.

        report: called with the number of connections that are left, after `REPORT_DELAY_S`
        """
        for server in self._servers:
            server.graceful_shutdown(idle_timeout=0)
        self._loop.schedule(REPORT_DELAY_S, lambda: report(self._connection_count()))

    def _connection_count(self) -> int:
        return sum(server.connection_count for server in self._servers)

    def _stopped(self) -> None:
        self._running -= 1
        if not self._running:
            self._loop.stop()


def listen_all(
    args: argparse.Namespace, loop: LoopBase, make: Callable[..., Server]
) -> tuple[Servers, str]:
    """Make the servers of a command, by `make(host, port, **settings)`.

    Returns: the servers, and where they listen, as text
    Raises: CommandError; then the loop is stopped, and with it the servers that were made
    """
    addresses, sockets, settings = listen_addresses_of(args)
    secure = "tls" in settings
    servers = []
    try:
        for (host, port), mode in addresses:
            more = settings if mode is None else {**settings, "mode": mode}
            with listen_errors((host, port)):
                servers.append(make(host, port, **more))
        for sock in sockets:
            with listen_errors(sock.getsockname()):
                servers.append(make(None, None, sock=sock, **settings))
    except CommandError:
        loop.stop()
        raise
    return Servers(servers, loop), ", ".join(
        describe_address(server.address, secure) for server in servers
    )


class ListenAddresses(NamedTuple):
    """The addresses and sockets that a command listens on, and the settings of its servers."""

    #: Each with the permissions of its socket file; None for other addresses, and for the umask's.
    addresses: Sequence[tuple[HostPort, int | None]]
    #: The sockets that a service manager has passed.
    sockets: Sequence[ListenSocket]
    #: The keyword arguments of each server.
    settings: ServerSettings


def listen_addresses_of(args: argparse.Namespace) -> ListenAddresses:
    """Return where the arguments say to listen. Raises: CommandError"""
    settings = _settings(args)
    addresses: Sequence[HostPort] | None = args.listen
    sockets: Sequence[ListenSocket] = ()
    if addresses is None:
        sockets = _passed_sockets()
        addresses = [] if sockets else [args.listen_default]
    files = {where: args.socket_mode for where in addresses if where[0].startswith("unix:")}
    if args.socket_mode is not None and not files:
        raise CommandError("--socket-mode is for --listen unix:PATH", EXIT_USAGE)
    return ListenAddresses([(where, files.get(where)) for where in addresses], sockets, settings)


def _settings(args: argparse.Namespace) -> ServerSettings:
    """Return the settings of each server that the arguments name. Raises: CommandError"""
    settings: ServerSettings = {}
    if args.proxy_protocol is not None:
        settings["proxy_protocol"] = args.proxy_protocol
    if args.certificate is not None:
        with certificate_errors():
            settings["tls"] = server_context(
                args.certificate, args.key, client_ca=args.client_ca, alpn=ALPN_PROTOCOLS
            )
        return settings
    for option in ("key", "client_ca"):
        if getattr(args, option) is not None:
            raise CommandError(f"--{option.replace('_', '-')} goes with --certificate", EXIT_USAGE)
    return settings


@contextmanager
def certificate_errors() -> Iterator[None]:
    """Turn an error of reading certificates and keys into a CommandError."""
    try:
        yield
    except (OSError, ValueError) as exc:  # an ssl.SSLError is an OSError, and names the files
        filename = getattr(exc, "filename", None)
        problem = f"{filename}: {getattr(exc, 'strerror', None)}" if filename else str(exc)
        raise CommandError(f"cannot use {problem}") from None


def _passed_sockets() -> Sequence[ListenSocket]:
    """Return the sockets that a service manager has passed. Raises: CommandError"""
    try:
        return listen_fds()
    except (OSError, ValueError) as exc:
        raise CommandError(f"cannot listen on what was passed: {exc}") from None
