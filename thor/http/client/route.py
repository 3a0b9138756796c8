"""Where requests lead: the target that a client's settings and a URI connect to.

Owns: which of the settings decide about connections, and what follows from them. Must not know
connections, nor the pool.

Theory of operation: `ConnectionSettings` is what a client had set at one time. Its `key` and a
`ConnectTarget` name an `OriginPool`, whose connections are interchangeable; whatever
would make another connection, or have it refused, is in one of the two. Everything
here is a function of what it is given.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from thor.events import require_callback
from thor.http.error import AccessError, InvalidHostError, UrlError
from thor.http.uri import parse_uri, show_uri
from thor.http.wire.limits import Limits
from thor.http.wire.target import split_authority
from thor.tcp.address import join_host_port
from thor.tls.context import check_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from thor.http.streams import ClientConnection, ConnectionPool
    from thor.tcp import TcpClient, TcpConnection
    from thor.tls import TlsClient
    from thor.types import OriginType

#: What makes a connection of a protocol, by its ALPN name; "" is where none was agreed on.
Protocols: TypeAlias = "Mapping[str, Callable[[TcpConnection, ConnectionPool], ClientConnection]]"

#: The settings that make up a key.
POOL_KEY_SETTINGS = (
    "tcp_client_class",
    "tls_client_class",
    "tls_context",
    "verify",
    "proxy",
    "check_ip",
    "unix_path",
)
#: Those of them that are the wire's.
WIRE_LIMITS = (
    "max_head_bytes",
    "max_head_fields",
    "max_field_bytes",
    "max_informational",
    "max_chunk_extension_bytes",
    "max_chunk_extensions_bytes",
    "fold",
)

_PROXY_SHAPE = "a proxy must be http://[USER:PASSWORD@]HOST[:PORT], or https:// the same"


class Proxy(NamedTuple):
    """A proxy between a client and the servers.

    host, port: as of a `ConnectTarget`
    server_name: whose certificate it has to show; None: it is spoken to without TLS
    fields: what is sent to it with each request, its credentials
    """

    host: str
    port: int
    server_name: str | None = None
    fields: tuple[tuple[bytes, bytes], ...] = ()


class ConnectTarget(NamedTuple):
    """How to get a connection.

    host, port: what is connected to; of a Unix socket `unix:PATH`, and 0
    tunnel: `host:port`, which the proxy there is asked to connect to; empty where it is none
    server_name: whose certificate is to be shown by what is connected to, or is at the end of the
        tunnel; None: without TLS
    proxy_name: whose certificate the proxy has to show before the tunnel; None: without TLS
    """

    host: str
    port: int
    tunnel: bytes = b""
    server_name: str | None = None
    proxy_name: str | None = None

    def __str__(self) -> str:
        """Return host and port, for messages."""
        return f"{self.host} port {self.port}" if self.port else self.host


class SettingsSource(Protocol):
    """What the settings are read from: an `HttpClient`."""

    tls_context: ssl.SSLContext | None
    check_ip: Callable[[str], bool] | None

    @property
    def protocols(self) -> Protocols:
        """What makes the connections of other protocols than HTTP/1.1, by their ALPN names."""


class ConnectionSettings:
    """The settings of a client that decide about its connections, as they were at one time.

    key: two clients with equal keys may use each other's connections
    """

    __slots__ = (
        "key",
        "limits",
        "protocols",
        "proxy",
        *POOL_KEY_SETTINGS[:4],
        *POOL_KEY_SETTINGS[5:],
    )

    tcp_client_class: Callable[..., TcpClient]
    tls_client_class: Callable[..., TlsClient]
    tls_context: ssl.SSLContext | None
    verify: bool
    check_ip: Callable[[str], bool] | None
    unix_path: str | None

    def __init__(self, client: SettingsSource) -> None:
        """Read the settings. Raises: UrlError for a bad proxy; ValueError, TypeError for another"""
        limits = {name: getattr(client, name) for name in WIRE_LIMITS}
        found = {name: getattr(client, name) for name in POOL_KEY_SETTINGS}
        self.protocols = client.protocols
        self.key = (*found.values(), *limits.values(), *self.protocols.items())
        proxy = found.pop("proxy")
        self.proxy = None if proxy is None else parse_proxy(proxy)
        if client.tls_context is not None:
            check_context(client.tls_context, server_side=False)
        if client.check_ip is not None:
            require_callback(client.check_ip, "check_ip")
        self.limits = Limits(**limits)
        for name, value in found.items():
            setattr(self, name, value)


def parse_proxy(uri: str | bytes) -> Proxy:
    """Take a proxy's URI apart: `http://[USER:PASSWORD@]HOST[:PORT]`, `https://` if TLS is spoken
    with the proxy itself, or `http+unix://%2FPATH`.

    Raises: UrlError, which does not quote it: there may be a password in it
    """
    text = uri.decode("latin-1") if isinstance(uri, bytes) else uri
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    user_info, found, place = authority.rpartition("@")
    try:
        scheme, host, port, _, target = parse_uri(f"{scheme}://{place}{slash}{path}")
    except UrlError:
        raise UrlError(_PROXY_SHAPE) from None
    if scheme == "https+unix" or target != b"/":
        raise UrlError(_PROXY_SHAPE)
    server_name = _server_name(host) if scheme == "https" else None
    if not found:
        return Proxy(host, port, server_name)
    user, _, password = user_info.partition(":")
    # RFC 7617 section 2. What was encoded may hold a colon, which a password may, a user not.
    name = unquote_to_bytes(user)
    if b":" in name:
        raise UrlError("the user of a proxy has a colon in it")
    secret = b64encode(name + b":" + unquote_to_bytes(password))
    return Proxy(host, port, server_name, ((b"Proxy-Authorization", b"Basic " + secret),))


def connect_target_for(settings: ConnectionSettings, origin: OriginType) -> ConnectTarget:
    """How to get a connection for an origin.

    origin: as of `parse_uri`
    Raises: AccessError for a Unix socket where addresses are checked: it has none
    """
    scheme, host, port = origin
    secure = scheme.startswith("https")
    if settings.unix_path is not None:
        name = "localhost" if host.startswith("unix:") else host
        return ConnectTarget(
            f"unix:{settings.unix_path}", 0, b"", _server_name(name) if secure else None
        )
    if host.startswith("unix:"):
        if settings.check_ip is not None:
            raise AccessError(f"{host} has no address that could be checked")
        return ConnectTarget(host, 0, b"", "localhost" if secure else None)
    proxy = settings.proxy
    if proxy is None:
        return ConnectTarget(host, port, b"", _server_name(host) if secure else None)
    if not secure:
        return ConnectTarget(proxy.host, proxy.port, b"", proxy.server_name)
    tunnel = join_host_port(host, port).encode("ascii")
    return ConnectTarget(proxy.host, proxy.port, tunnel, _server_name(host), proxy.server_name)


def _server_name(host: str) -> str:
    """Return the name for a certificate: without the final dot of a host (RFC 6066 section 3).

    Raises: UrlError for what can be the name of no server (RFC 1035 section 2.3.4)
    """
    name = host.removesuffix(".")
    if not all(0 < len(label) < 64 for label in name.split(".")):
        raise UrlError(f"no server can be called {host!r}")
    return name


def goes_through_proxy(settings: ConnectionSettings, origin: OriginType) -> bool:
    """Whether requests for an origin are a proxy's to read: then their target is absolute."""
    scheme, host, _ = origin
    return (
        settings.proxy is not None
        and scheme == "http"
        and settings.unix_path is None
        and not host.startswith("unix:")
    )


def split_connect(uri: bytes) -> tuple[str, int]:
    """Host and port that a CONNECT is for (RFC 9110 section 9.3.6). Raises: UrlError"""
    try:
        host, port = split_authority(uri)
    except InvalidHostError:
        port = None
    if port is None:
        raise UrlError(f"CONNECT needs host:port, not {show_uri(uri)}")
    return host.decode("ascii").lower().removeprefix("[").removesuffix("]"), port
