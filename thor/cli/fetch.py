"""`thor fetch URL`: one request, and its response on stdout."""

from __future__ import annotations

import argparse
import re
from base64 import b64encode
from getpass import getpass
from typing import TYPE_CHECKING

from thor import __version__
from thor.cli.common import DONE, EXIT_USAGE, FAILED, CommandError, examples, seconds
from thor.cli.data import add_arguments as add_data_arguments
from thor.cli.data import read_data
from thor.cli.listen import certificate_errors
from thor.cli.output import Output
from thor.cli.trace import Trace
from thor.http.client import HttpClient
from thor.http.client.connect import ALPN_PROTOCOLS
from thor.http.client.redirect import redirected_request
from thor.http.error import CertificateError, HttpError, OutputError, UrlError
from thor.loop import LoopBase, make
from thor.tls import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from thor.cli.common import Commands
    from thor.http.client import HttpClientExchange
    from thor.types import FieldIn, RawHeaders

#: Most redirects that are followed (curl's limit is 50, browsers' about 20).
MAX_REDIRECTS = 10
#: The schemes of URLs that can be fetched.
SCHEMES = ("http", "https", "http+unix", "https+unix")

#: A literal in the detail of an error, as `repr` writes it: b'...' for octets.
_LITERAL = re.compile(r"""(?:\bb)?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def add_parser(commands: Commands) -> None:
    """Describe the command's arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "fetch",
        help="make a request and print the response",
        description="Make a request and write the response's body to stdout.",
        epilog=examples(
            "thor fetch -L -o page.html https://www.example.com/",
            """thor fetch --json '{"a": 1}' -u me:secret http://127.0.0.1:8080/items""",
        ),
    )
    parser.add_argument(
        "url",
        metavar="URL",
        help="http://HOST[:PORT]/PATH, https:// the same, or http+unix://%%2FPATH%%2FOF%%2FSOCKET/PATH",
    )
    parser.add_argument("-X", metavar="METHOD", dest="method", help="default: GET, with -d POST")
    parser.add_argument(
        "-H",
        metavar="FIELD",
        dest="fields",
        action="append",
        default=[],
        type=field,
        help="'Name: value', sent with the request; may be given several times",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "-u",
        "--user",
        metavar="USER:PASSWORD",
        help="authenticate by the scheme Basic; without a password it is asked for",
    )
    parser.add_argument("-o", metavar="FILE", dest="output", help="write the body to FILE")
    parser.add_argument(
        "-i", "--include", action="store_true", help="write the response's head, too"
    )
    parser.add_argument(
        "-I", "--head", action="store_true", help="request and write the head only (HEAD)"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show what is sent and received on stderr"
    )
    parser.add_argument(
        "-s", "--silent", action="store_true", help="no progress and no message on stderr"
    )
    parser.add_argument("-S", "--show-error", action="store_true", help="with -s, say what failed")
    parser.add_argument(
        "-L", "--location", action="store_true", help=f"follow up to {MAX_REDIRECTS} redirects"
    )
    parser.add_argument(
        "-f", "--fail", action="store_true", help="exit with 1 for a status of 400 or more"
    )
    _add_connection_arguments(parser)
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="how long it may take in all"
    )
    parser.set_defaults(run=run)


def _add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-k", "--insecure", action="store_true", help="accept any certificate of a server"
    )
    parser.add_argument(
        "--cacert", metavar="FILE", help="trust only certificates of these issuers (PEM)"
    )
    parser.add_argument("--cert", metavar="FILE", help="show this certificate to servers (PEM)")
    parser.add_argument(
        "--key", metavar="FILE", help="its key (PEM), where the certificate's file does not have it"
    )
    parser.add_argument(
        "-x",
        "--proxy",
        metavar="URL",
        help="go through this proxy: http://[USER:PASSWORD@]HOST[:PORT], or https://",
    )
    parser.add_argument(
        "--unix-socket",
        metavar="PATH",
        help="connect to this Unix socket, not to the URL's host",
    )


def field(text: str) -> tuple[str, str]:
    """Parse the argument 'Name: value'."""
    name, colon, value = text.partition(":")
    if not colon or not name or name != name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not 'Name: value'")
    return name, value.strip()


def basic_credentials(user: str) -> str:
    """Return the value of Authorization for `USER:PASSWORD` (RFC 7617).

    Without a colon, ask for the password on the terminal. Raises: CommandError
    """
    if ":" not in user:
        try:
            user = f"{user}:{getpass(f'Password of {user}: ')}"
        except EOFError:
            raise CommandError("no password was given", EXIT_USAGE) from None
    octets = user.encode("utf-8", "surrogateescape")
    return f"Basic {b64encode(octets).decode('ascii')}"


def run(args: argparse.Namespace) -> int:
    """Make the request, and write the response. Returns: the exit code. Raises: CommandError"""
    try:
        return _run(args)
    except CommandError as exc:
        if args.silent and not args.show_error:
            raise CommandError("", exc.code) from None
        raise


def _run(args: argparse.Namespace) -> int:
    check_url(args.url, SCHEMES)
    if args.head and (args.method or args.data is not None or args.json is not None):
        raise CommandError("-I goes with neither -X, -d nor --json", EXIT_USAGE)
    context = tls_context(args)
    loop = make()
    loop.on_exception = "raise"  # a bug here must end the command, not hang it
    fetch = Fetch(args, loop, context)
    try:
        return fetch.run()
    finally:
        fetch.close()


def check_url(url: str, schemes: Sequence[str]) -> None:
    """Raise CommandError unless `url` has one of `schemes`."""
    scheme, found, _ = url.partition("://")
    if not found or scheme.lower() not in schemes:
        shown = " or ".join(f"{scheme}://" for scheme in schemes[:2])
        raise CommandError(f"{url!r} is no URL: it must begin with {shown}", EXIT_USAGE)


def tls_context(args: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the context of TLS; None for the client's default. Raises: CommandError"""
    if args.key is not None and args.cert is None:
        raise CommandError("--key goes with --cert", EXIT_USAGE)
    if args.insecure and args.cacert is not None:
        raise CommandError("--insecure and --cacert exclude each other", EXIT_USAGE)
    if not (args.insecure or args.cacert or args.cert):
        return None
    with certificate_errors():
        return client_context(
            verify=not args.insecure,
            ca_file=args.cacert,
            certificate=args.cert,
            key=args.key,
            alpn=ALPN_PROTOCOLS,
        )


class Fetch:
    """A request, and the redirects of its response."""

    def __init__(
        self, args: argparse.Namespace, loop: LoopBase, context: ssl.SSLContext | None
    ) -> None:
        self._args = args
        self._loop = loop
        self._client = client = HttpClient(loop)
        client.retry_limit = 0  # report an error at once: the user waits for it
        client.tls_context = context
        client.proxy = args.proxy
        client.unix_path = args.unix_socket
        self._exchange: HttpClientExchange | None = None
        self._output = Output(args.output, quiet=args.silent or args.verbose)
        self._redirects = 0
        self._following = False
        self._failure: CommandError | None = None
        self._code = DONE
        self._url: str = args.url
        self._data = read_data(args)
        self._accept = dict(self._data.fields).get("Accept", "*/*") if self._data else "*/*"
        default = "HEAD" if args.head else "GET" if self._data is None else "POST"
        self._method: str = args.method or default
        self._fields: list[FieldIn] = list(args.fields)
        if args.user is not None and not self._has_field("authorization"):
            self._fields.append(("Authorization", basic_credentials(args.user)))
        self._trace = Trace(client) if args.verbose else None

    def run(self) -> int:
        """Make the request. Returns: the exit code. Raises: CommandError"""
        if self._args.timeout is not None:
            self._loop.schedule(self._args.timeout, self._on_timeout)
        self._loop.schedule(0, self._request)
        self._loop.run()
        if self._failure is not None:
            raise self._failure
        return self._code

    def close(self) -> None:
        """Close the output."""
        self._output.close()

    # -- the request ---------------------------------------------------------------------------

    def _request(self) -> None:
        exchange = self._exchange = self._client.exchange()
        if self._trace is not None:
            self._trace.head_due = True
            exchange.on("response_nonfinal", self._show_head)
        exchange.on("response_start", self._on_head)
        exchange.on("response_body", self._on_body)
        exchange.on("response_done", self._on_done)
        exchange.on("upgrade", lambda conn: conn.abort())
        exchange.on("error", self._on_error)
        exchange.request_start(self._method, self._url, self._request_fields())
        if self._data is not None and self._data.body:
            exchange.request_body(self._data.body)
        exchange.request_done([])

    def _request_fields(self) -> list[FieldIn]:
        defaults = {"User-Agent": f"thor/{__version__}", "Accept": self._accept}
        if self._data is not None:
            defaults["Content-Length"] = str(len(self._data.body))
            defaults.update(self._data.fields)
        unset = [item for item in defaults.items() if not self._has_field(item[0])]
        return [*unset, *self._fields]

    def _has_field(self, name: str) -> bool:
        """Return whether the user named a field of this name."""
        return any(given.lower() == name.lower() for given, _ in self._fields)

    def _follow(self, status: bytes, headers: RawHeaders) -> bool:
        """Prepare the request that a redirect asks for. Returns: False if it is none

        Raises: CommandError, HttpError
        """
        redirected = redirected_request(
            status, headers, self._method.encode(), self._url, self._fields
        )
        if redirected is None:
            return False
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            raise CommandError(f"more than {MAX_REDIRECTS} redirects")
        self._method, self._url = redirected.method.decode("ascii"), redirected.uri
        self._fields = redirected.fields
        if not redirected.keeps_body:
            self._data = None
        return True

    # -- the response --------------------------------------------------------------------------

    def _show_head(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        if self._trace is not None:
            self._trace.received(self._head_lines(status, phrase, headers))

    def _head_lines(self, status: bytes, phrase: bytes, headers: RawHeaders) -> list[bytes]:
        assert self._exchange is not None
        start = b"HTTP/%b %b %b" % (self._exchange.res_version, status, phrase)
        return [start, *(b"%b: %b" % field for field in headers)]

    def _on_head(self, status: bytes, phrase: bytes, headers: RawHeaders) -> None:
        self._show_head(status, phrase, headers)
        try:
            self._following = self._args.location and self._follow(status, headers)
        except CommandError as exc:
            self._fail(exc)
            return
        except HttpError as exc:
            self._on_error(exc)
            return
        if self._following:
            return
        if self._args.fail and status >= b"400":
            self._fail(CommandError(f"the server answered {status.decode()}"))
            return
        try:
            self._output.open()
            if self._args.include or self._args.head:
                head = b"\r\n".join(self._head_lines(status, phrase, headers))
                self._output.write(head + b"\r\n\r\n")
        except CommandError as exc:
            self._fail(exc)
            return
        if self._method != "HEAD":
            length = next((v for name, v in headers if name.lower() == b"content-length"), None)
            self._output.expect(int(length) if length and length.isdigit() else None)

    def _on_body(self, chunk: bytes) -> None:
        if not self._following and self._failure is None:
            try:
                self._output.write(chunk)
            except CommandError as exc:
                self._fail(exc)

    def _on_done(self, trailers: RawHeaders) -> None:
        if self._following:
            self._request()
        else:
            self._loop.stop()

    def _on_error(self, error: HttpError) -> None:
        is_usage_error = isinstance(error, (UrlError, OutputError))
        message = _LITERAL.sub(r"\1", str(error))
        if isinstance(error, CertificateError) and "unknown issuer" in message:
            message += " (--cacert FILE names an issuer to believe)"
        self._fail(CommandError(message, EXIT_USAGE if is_usage_error else FAILED))

    def _on_timeout(self) -> None:
        self._fail(CommandError(f"not done within {self._args.timeout:g} s"))

    def _fail(self, failure: CommandError) -> None:
        self._failure = failure
        if self._exchange is not None:
            self._exchange.cancel()
        self._loop.stop()
