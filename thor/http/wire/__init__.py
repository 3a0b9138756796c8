"""HTTP/1.1 as bytes in and bytes out: no sockets, no loop, no events, no clock.

`reader` takes bytes and gives heads, bodies and trailers; `writer` takes what a program wants to
say and gives bytes. Each is a thin layer over pure functions (`head`, `framing`) and two small
incremental machines (`scan`, `body`), so that every rule can be tested with bytes alone.
"""
