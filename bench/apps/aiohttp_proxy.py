"""aiohttp on uvloop as a reverse proxy, streaming. Usage: aiohttp_proxy.py PORT ORIGIN"""

import sys

import aiohttp
import uvloop
from aiohttp import web

ORIGIN = f"http://127.0.0.1:{sys.argv[2]}"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


def end_to_end(headers):
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]


async def relay(request):
    async with request.app["client"].request(
        request.method,
        ORIGIN + request.raw_path,
        headers=end_to_end(request.headers),
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as upstream:
        response = web.StreamResponse(status=upstream.status, headers=end_to_end(upstream.headers))
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def client(app):
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=600)
    app["client"] = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    yield
    await app["client"].close()


app = web.Application()
app.cleanup_ctx.append(client)
app.router.add_route("*", "/{path:.*}", relay)
web.run_app(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    access_log=None,
    print=None,
    keepalive_timeout=600,
    loop=uvloop.new_event_loop(),
)
