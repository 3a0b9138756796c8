"""How much of a message is accepted.

Owns: the numbers, each with its precedent. Must not know where they are applied.
"""

from __future__ import annotations


class Limits:
    """The limits on one connection's messages. Sizes are in bytes; a limit itself is allowed.

    Immutable by convention: one object is shared by all connections of a server or client.
    """

    __slots__ = (
        "codec_limits",
        "fast_path_bytes",
        "fold",
        "max_body_bytes",
        "max_chunk_extension_bytes",
        "max_chunk_extensions_bytes",
        "max_empty_lines",
        "max_field_bytes",
        "max_head_bytes",
        "max_head_fields",
        "max_informational",
        "max_method_bytes",
        "max_target_bytes",
        "refuse_host_mismatch",
        "strict_target",
    )

    def __init__(
        self,
        *,
        # The whole head, start line to empty line, and likewise a trailer section. Go allows
        # 1 MiB, Apache 100 fields of 8 KiB, nginx 4 times 8 KiB, Node 16 KiB.
        max_head_bytes: int = 65536,
        # RFC 9112 section 3 asks for 8,000 at least; nginx and Apache take about 8 KiB a line.
        max_target_bytes: int = 8192,
        # One field line without its CRLF. Apache and nginx: 8 KiB, often raised for SSO tokens.
        max_field_bytes: int = 32768,
        # Apache's default is 100, and proxies in between add some of their own.
        max_head_fields: int = 128,
        # RFC 9112 section 2.2 asks for one at least, for old clients that end a POST with CRLF.
        max_empty_lines: int = 4,
        # A 100, and early hints once or a few times; no server has reason to send more.
        max_informational: int = 16,
        # In one chunk: Go's limit on the whole line. Hardly anybody uses extensions.
        max_chunk_extension_bytes: int = 4096,
        # In all chunks of a message; Node's is 16 KiB, since one without was CVE-2024-22019.
        max_chunk_extensions_bytes: int = 65536,
        # The longest registered method is UPDATEREDIRECTREF, 17 letters.
        max_method_bytes: int = 64,
        # Of a field line: "refuse" it, or "unfold" it, each fold replaced by one space. RFC 9112
        # section 5.2: a server does either, a user agent replaces.
        fold: str = "refuse",
        # An absolute target's authority wins over Host in any case (RFC 9112 section 3.2.2).
        refuse_host_mismatch: bool = False,
        # Whether path and query have to keep to RFC 3986; browsers send some that do not.
        strict_target: bool = False,
        # The body of a request, decoded; None: no limit.
        max_body_bytes: int | None = None,
    ) -> None:
        if fold not in ("refuse", "unfold"):
            raise ValueError(f"fold is 'refuse' or 'unfold', not {fold!r}")
        self.max_head_bytes = max_head_bytes
        self.max_target_bytes = max_target_bytes
        self.max_field_bytes = max_field_bytes
        self.max_head_fields = max_head_fields
        self.max_empty_lines = max_empty_lines
        self.max_informational = max_informational
        self.max_chunk_extension_bytes = max_chunk_extension_bytes
        self.max_chunk_extensions_bytes = max_chunk_extensions_bytes
        self.max_method_bytes = max_method_bytes
        self.fold = fold
        self.refuse_host_mismatch = refuse_host_mismatch
        self.strict_target = strict_target
        self.max_body_bytes = max_body_bytes
        #: A head up to this size keeps to all limits in bytes without a closer look.
        self.fast_path_bytes = min(max_head_bytes - 4, max_field_bytes, max_target_bytes)
        #: What the native codec has to know, in its order.
        self.codec_limits = (
            max_head_fields,
            -1 if strict_target else max_head_bytes - 4,  # it knows nothing of that: none is plain
            max_body_bytes,
            max_target_bytes,  # of the whole start line: one that is longer is looked at closely
            max_field_bytes,
        )


#: The defaults.
DEFAULT_LIMITS = Limits()
