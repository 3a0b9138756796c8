"""The names that a client asks for, before OpenSSL sees them.

Owns: finding the host name (SNI) in the plain messages of a handshake. Must not know connections,
contexts, or what is done about a name.

Theory of operation: Python's `ssl` decodes the name as ASCII before it calls any callback
(`_servername_callback` in `_ssl.c`; the same in 3.11 to 3.13). Where that fails it writes a
traceback to stderr, for each handshake of any client that sends such a name (RFC 6066 section 3
forbids it). So the bytes of a client are checked before OpenSSL gets them. After a
HelloRetryRequest there is a second hello, which may have another name; what follows a hello is not
checked otherwise. A malformed hello is left to OpenSSL, which gets the same bytes at once, and ends
the handshake at a hello of 128 KiB.
"""

from __future__ import annotations

from struct import Struct

#: Types of records and of handshake messages (RFC 8446 sections 5.1 and 4), and of extensions.
CHANGE_CIPHER_SPEC, HANDSHAKE = 20, 22
CLIENT_HELLO = 1
SERVER_NAME = 0
#: Bytes in front of a hello's session identifier: its version and random value.
_FIXED_BYTES = 34
#: What an extension begins with: its type and size.
_EXTENSION = Struct(">HH")


class ServerNameCheck:
    """Checks what one client sends until its hello, or its second one, is complete."""

    def __init__(self) -> None:
        self._records = bytearray()
        self._messages = bytearray()
        self._done = False

    def feed(self, data: bytes) -> bool:
        """Check what was received. Return False if a hello asks for a name that is not ASCII."""
        if self._done:
            return True
        records = self._records
        records += data
        while len(records) >= 5 and len(records) >= (end := 5 + _size(records, 3)):
            if records[0] == HANDSHAKE:
                self._messages += records[5:end]
            elif records[0] != CHANGE_CIPHER_SPEC:  # from here on it is encrypted
                self._done = True
            del records[:end]
        allowed = self._check_hellos()
        if self._done:
            records.clear()
            self._messages.clear()
        return allowed

    def _check_hellos(self) -> bool:
        messages = self._messages
        while len(messages) >= 4 and not self._done:
            if messages[0] != CLIENT_HELLO:
                self._done = True
                break
            end = 4 + _size(messages, 1, 3)
            if len(messages) < end:
                break
            if not server_name(messages[4:end]).isascii():
                return False
            del messages[:end]
        return True


def server_name(hello: bytes | bytearray) -> bytes | bytearray:
    """Return the host name in the body of a ClientHello (RFC 8446 section 4.1.2).

    Returns: b"" if there is none, or no way to find it
    """
    at = _FIXED_BYTES
    at += 1 + _size(hello, at, 1)  # session identifier
    at += 2 + _size(hello, at)  # cipher suites
    at += 1 + _size(hello, at, 1)  # compression methods
    at += 2
    while at + 4 <= len(hello):
        kind, size = _EXTENSION.unpack_from(hello, at)
        at += 4
        if kind == SERVER_NAME:
            return hello[at + 5 : at + size]  # behind a list of one: its size, type, and size
        at += size
    return b""


def _size(data: bytes | bytearray, at: int, count: int = 2) -> int:
    return int.from_bytes(data[at : at + count], "big")
