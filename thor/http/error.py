"""Everything that can be wrong with an HTTP exchange, one class each.

Owns: the tree below. Must not know how any of it is found, nor what is done about it.

    HttpError
      NetworkError               the other side could not be reached, or went away
        ConnectError               no connection, or it was lost
          ConnectTimeoutError
          TlsError                   the handshake failed
            CertificateError           who the server says it is was not accepted
          ProxyError                 the client's proxy did not open a tunnel
          ConnectionLostError        it was lost after the request was sent
          PoolFullError              the client's queue for a connection is full
        ResourceError              this process has nothing left to connect with
        DnsError                   the name could not be resolved
        AccessError                the address is one that the settings refuse
        IncompleteMessageError     the peer stopped in the middle of a message
        ReadTimeoutError           nothing came for too long
        ExchangeTimeoutError       the exchange as a whole took too long
        SendTimeoutError           the peer reads nothing of what is sent
        RequestTimeoutError        the client did not finish its request (408)
      UrlError                   a URI that a program passed
      RedirectError              a redirect that cannot be followed, or one too many
      MessageError               the peer's message has no one reading
        StartLineError             the status line
        RequestLineError           the request line
          RequestTargetError         not one of the four forms
        HttpVersionError           a major version that is not spoken here (505)
        TargetTooLongError         (414)
        HeadSyntaxError            a head or a trailer section is not made of field lines
          TopLineSpaceError  HeaderSpaceError  HeaderNoColonError  HeaderNameError
          HeaderValueError  HeaderLineEndingError  BareCRError  ObsoleteFoldError
        HeadLimitError             (431)
          FieldSectionTooLargeError  TooManyFieldsError
        HostError
          HostRequiredError  InvalidHostError
        FramingError               where the body ends has no one answer
          ContentLengthError
            DuplicateCLError  MalformedCLError
          LengthRequiredError        (411)
          TransferCodingError
            MalformedTEError  RequestTransferEncodingError  TransferEncodingCLError
            TransferEncodingVersionError
            TransferCodeError        a coding that is not implemented (501)
          ConnectContentError        a CONNECT request with content
          TraceContentError          a TRACE request with content
        ChunkError                 a chunk's size line
          ChunkExtensionError  ChunkTerminatorError
        ContentTooLargeError       (413)
        ExpectationError           (417)
        MisdirectedRequestError    for https, and not by TLS (421)
        TooManyMsgsError           informational responses without end
        UpgradeError               a switch of protocols that nobody asked for
        ExtraDataError             bytes where no message is due
      OutputError                what a program asked to be sent cannot be
        OutputSyntaxError          a field, status, method or trailer that is not one
        OutputStateError           at the wrong time, or not of the declared length

Each class says in `server_status` what a server answers with that meets it (None: nothing can be
answered), and in `server_recoverable` and `client_recoverable` whether a connection of that side
may still be used afterwards. Most may not: a peer that is misread once is misread for good.
"""

from __future__ import annotations

from thor.http.semantics import PHRASES


def _status(code: int) -> tuple[bytes, bytes]:
    return b"%d" % code, PHRASES[code].encode("ascii")


class HttpError(Exception):
    """What went wrong with a message or an exchange.

    `desc` says what is wrong in general, `detail` (a `str`, or None) in this case. The detail is
    for logs: it may quote the peer, so it is never sent to anybody.
    """

    desc = "HTTP error"
    server_status: tuple[bytes, bytes] | None = None
    server_recoverable = False
    client_recoverable = False

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.desc if self.detail is None else f"{self.desc}: {self.detail}"


# -- the network, and time


class NetworkError(HttpError):
    """The other side could not be reached, or went away. Nobody's message is at fault."""

    desc = "Network error"
    server_status: tuple[bytes, bytes] | None = _status(502)


class ConnectError(NetworkError):
    """No connection could be made, or it was lost (RFC 9110 section 15.6.3)."""

    desc = "Connection failed"


class ConnectTimeoutError(ConnectError):
    """No connection within the time allowed (RFC 9110 section 15.6.5)."""

    desc = "Connection timed out"
    server_status = _status(504)


class TlsError(ConnectError):
    """The TLS handshake failed, so that nothing was said (RFC 8446 section 6.2)."""

    desc = "TLS failed"


class CertificateError(TlsError):
    """The server's certificate was not accepted (RFC 9110 section 4.3.4): it may be another."""

    desc = "Certificate was not accepted"


class ProxyError(ConnectError):
    """The client's proxy did not open a tunnel (RFC 9110 section 9.3.6)."""

    desc = "Proxy did not open a tunnel"


class ConnectionLostError(ConnectError):
    """The connection was lost after the request, or a part of it, was sent.

    The server may have acted on it (RFC 9110 section 9.2.2). Where a client emits a plain
    ConnectError, nothing of the request was sent.
    """

    desc = "Connection lost"


class PoolFullError(ConnectError):
    """All connections that `max_server_conn` allows are in use, and `max_waiting` requests wait."""

    desc = "Too many requests wait for a connection"


class ResourceError(NetworkError):
    """This process, or its machine, has no descriptors or memory left. Nobody else's fault."""

    desc = "Out of resources"
    server_status = _status(503)


class DnsError(NetworkError):
    """The host's name could not be resolved."""

    desc = "Name resolution failed"


class AccessError(NetworkError):
    """The host's address is one that the program's own settings refuse to connect to."""

    desc = "Access to this address is refused"
    server_status = _status(403)


class IncompleteMessageError(NetworkError):
    """The peer stopped sending in the middle of a message (RFC 9112 section 8). Its fault."""

    desc = "Message is incomplete"


class ReadTimeoutError(NetworkError):
    """The server sent nothing for too long (RFC 9110 section 15.6.5)."""

    desc = "Read timed out"
    server_status = _status(504)


class ExchangeTimeoutError(NetworkError):
    """The exchange as a whole took longer than allowed (RFC 9110 section 15.6.5)."""

    desc = "Exchange timed out"
    server_status = _status(504)


class SendTimeoutError(NetworkError):
    """The peer does not read what it is sent, so nothing more can be told to it. Its fault."""

    desc = "Sending timed out"
    server_status = None


class RequestTimeoutError(NetworkError):
    """The client did not finish its request in time (RFC 9110 section 15.5.9). Its fault."""

    desc = "Request timed out"
    server_status = _status(408)


class UrlError(HttpError):
    """A URI, passed by the program, that cannot be requested (RFC 9110 section 4.2)."""

    desc = "Unsupported or invalid URI"
    server_status = _status(400)
    server_recoverable = True
    client_recoverable = True


# -- messages


class RedirectError(HttpError):
    """A redirect that cannot be followed, or one too many (RFC 9110 section 15.4). The server's
    fault."""

    desc = "Cannot be followed"
    server_status = _status(502)


class MessageError(HttpError):
    """The peer's message is not one, or could be read in two ways. The peer's fault."""

    desc = "Malformed message"
    server_status: tuple[bytes, bytes] | None = _status(400)


class StartLineError(MessageError):
    """A response does not start with a status line (RFC 9112 section 4). The server's fault."""

    desc = "Malformed status line"
    server_status = _status(502)


class RequestLineError(MessageError):
    """A request does not start with a request line (RFC 9112 section 3). The client's fault."""

    desc = "Malformed request line"


class RequestTargetError(RequestLineError):
    """The target is in none of the four forms that its method allows (RFC 9112 section 3.2)."""

    desc = "Malformed request target"


class HttpVersionError(MessageError):
    """A well-formed version with a major number that is not 1 (RFC 9110 section 15.6.6)."""

    desc = "HTTP version is not supported"
    server_status = _status(505)


class TargetTooLongError(MessageError):
    """The request target is over its limit (RFC 9112 section 3, RFC 9110 section 15.5.15)."""

    desc = "Request target is too long"
    server_status = _status(414)


class HeadSyntaxError(MessageError):
    """A line of a head or of a trailer section is not a field line (RFC 9112 section 5)."""

    desc = "Malformed field line"


class TopLineSpaceError(HeadSyntaxError):
    """White space between the start line and the first field (RFC 9112 section 2.2)."""

    desc = "White space before the first field"


class HeaderSpaceError(HeadSyntaxError):
    """White space between a field name and its colon (RFC 9112 section 5.1)."""

    desc = "White space after a field name"


class HeaderNoColonError(HeadSyntaxError):
    """A field line without a colon (RFC 9112 section 5)."""

    desc = "Field line has no colon"


class HeaderNameError(HeadSyntaxError):
    """A field name that is empty, or not a token (RFC 9110 section 5.1)."""

    desc = "Malformed field name"


class HeaderValueError(HeadSyntaxError):
    """A control character in a field value (RFC 9110 section 5.5)."""

    desc = "Control character in a field value"


class HeaderLineEndingError(HeadSyntaxError):
    """A line that ends with a bare LF (RFC 9112 section 2.2)."""

    desc = "Line does not end with CRLF"


class BareCRError(HeadSyntaxError):
    """A CR that no LF follows (RFC 9112 section 2.2)."""

    desc = "CR without LF"


class ObsoleteFoldError(HeadSyntaxError):
    """A field value continued on the next line (RFC 9112 section 5.2)."""

    desc = "Folded field line"


class HeadLimitError(MessageError):
    """A head or trailer section over one of its limits (RFC 6585 section 5)."""

    desc = "Fields are over a limit"
    server_status = _status(431)


class FieldSectionTooLargeError(HeadLimitError):
    """A field line, or the section as a whole, is too long (RFC 9110 section 5.4)."""

    desc = "Fields are too large"


class TooManyFieldsError(HeadLimitError):
    """There are too many field lines (RFC 9110 section 5.4)."""

    desc = "Too many fields"


class HostError(MessageError):
    """The request does not say whom it is for (RFC 9112 section 3.2). The client's fault."""

    desc = "Host is unusable"


class HostRequiredError(HostError):
    """An HTTP/1.1 request without a Host field (RFC 9112 section 3.2)."""

    desc = "Host is missing"


class InvalidHostError(HostError):
    """A Host that is repeated, empty, malformed, or not the target's (RFC 9112 section 3.2)."""

    desc = "Host is invalid"


class FramingError(MessageError):
    """Where the message's body ends has no single answer (RFC 9112 section 6.3)."""

    desc = "Unclear message framing"


class ContentLengthError(FramingError):
    """Something is wrong with Content-Length (RFC 9112 section 6.3, step 5)."""

    desc = "Unusable Content-Length"


class DuplicateCLError(ContentLengthError):
    """More than one Content-Length, where one was due or where they differ."""

    desc = "Content-Length is repeated"


class MalformedCLError(ContentLengthError):
    """A Content-Length that is not a row of digits, or over 2^63-1 (RFC 9110 section 8.6)."""

    desc = "Malformed Content-Length"


class LengthRequiredError(FramingError):
    """The receiver insists on a Content-Length, and there is none (RFC 9110 section 15.5.12)."""

    desc = "Content-Length is required"
    server_status = _status(411)


class TransferCodingError(FramingError):
    """Something is wrong with Transfer-Encoding (RFC 9112 section 6.1)."""

    desc = "Unusable Transfer-Encoding"


class MalformedTEError(TransferCodingError):
    """Transfer-Encoding is not a list of codings with chunked once (RFC 9112 section 7)."""

    desc = "Malformed Transfer-Encoding"


class RequestTransferEncodingError(TransferCodingError):
    """A request whose last transfer coding is not chunked (RFC 9112 section 6.3, step 4)."""

    desc = "Transfer-Encoding of a request does not end in chunked"


class TransferEncodingCLError(TransferCodingError):
    """Transfer-Encoding together with Content-Length (RFC 9112 section 6.3, step 3)."""

    desc = "Both Transfer-Encoding and Content-Length"


class TransferEncodingVersionError(TransferCodingError):
    """Transfer-Encoding in an HTTP/1.0 message (RFC 9112 section 6.1)."""

    desc = "Transfer-Encoding in HTTP/1.0"


class TransferCodeError(TransferCodingError):
    """A coding besides chunked, none of which is implemented (RFC 9112 section 6.1)."""

    desc = "Transfer coding is not implemented"
    server_status = _status(501)


class ConnectContentError(FramingError):
    """A CONNECT request that declares content (RFC 9110 section 9.3.6: it has none)."""

    desc = "CONNECT request with content"


class TraceContentError(FramingError):
    """A TRACE request with content, which none may have (RFC 9110 section 9.3.8)."""

    desc = "TRACE request with content"


class ChunkError(MessageError):
    """A chunk's size is not one (RFC 9112 section 7.1)."""

    desc = "Malformed chunk"


class ChunkExtensionError(ChunkError):
    """A chunk's extensions are malformed, or over a limit (RFC 9112 section 7.1.1)."""

    desc = "Unusable chunk extension"


class ChunkTerminatorError(ChunkError):
    """A chunk's data is not followed by CRLF (RFC 9112 section 7.1)."""

    desc = "Chunk data does not end with CRLF"


class ContentTooLargeError(MessageError):
    """The body is larger than the program allows (RFC 9110 section 15.5.14)."""

    desc = "Content is too large"
    server_status = _status(413)


class ExpectationError(MessageError):
    """An expectation other than 100-continue (RFC 9110 section 10.1.1)."""

    desc = "Expectation cannot be met"
    server_status = _status(417)
    server_recoverable = True


class MisdirectedRequestError(MessageError):
    """A request for https that did not come by TLS (RFC 9110 sections 7.4 and 15.5.20)."""

    desc = "Misdirected request"
    server_status = _status(421)


class TooManyMsgsError(MessageError):
    """Informational responses without end (RFC 9110 section 15.2). The server's fault."""

    desc = "Too many informational responses"
    server_status = _status(502)


class UpgradeError(MessageError):
    """A 101 that the request did not ask for (RFC 9110 section 7.8). The server's fault."""

    desc = "Unsolicited switch of protocols"
    server_status = _status(502)


class ExtraDataError(MessageError):
    """Bytes where no message is due (RFC 9112 sections 6.3 and 9.2). The peer's fault."""

    desc = "Data outside of a message"


# -- what a program asks to be sent


class OutputError(HttpError):
    """What the program asked to be sent cannot be. The program's fault."""

    desc = "Output error"
    server_status = _status(500)


class OutputSyntaxError(OutputError):
    """A method, status, phrase, field or trailer that is not one. No byte of it has left."""

    desc = "Cannot be sent"
    server_recoverable = True
    client_recoverable = True


class OutputStateError(OutputError):
    """Sent at the wrong time, or more or less than the declared length. The message is lost."""

    desc = "Out of order"


# -- what a gateway makes of them

#: The status for an error of the request to the next server, where it is not 502. A class stands
#: for its subclasses.
_GATEWAY_STATUS: dict[type[HttpError], int] = {
    ConnectTimeoutError: 504,
    PoolFullError: 503,
    ResourceError: 503,  # the server did not cause it, and it may pass
    ReadTimeoutError: 504,
    ExchangeTimeoutError: 504,
    SendTimeoutError: 504,
    UrlError: 400,
    OutputError: 500,
}


def gateway_status(error: HttpError) -> int:
    """Return the status with which a gateway reports that its own request failed with `error` (RFC
    9110 sections 15.6.3 to 15.6.5)."""
    found = (_GATEWAY_STATUS[row] for row in type(error).__mro__ if row in _GATEWAY_STATUS)
    return next(found, 502)
