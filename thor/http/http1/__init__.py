"""HTTP/1.1 on connections: what carries the streams of both sides (`thor.http.streams`).

Must not know exchanges, servers or clients but through the protocols of that module.
"""
