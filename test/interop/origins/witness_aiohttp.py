"""witness.js on aiohttp: an origin that keeps a ledger of the requests that it sees.

Usage: witness_aiohttp.py LEDGER; prints the port that it took.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

from aiohttp import web


async def serve(ledger: int) -> None:
    """Answer until the process is ended."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        fields = request.headers
        said = [request.method, request.raw_path, fields.get("Via", ""), fields.get("X-Front", "")]
        os.write(ledger, json.dumps(said).encode() + b"\n")
        await request.read()
        return web.Response(text="seen\n", headers={"X-Seen": request.raw_path})

    logging.disable()  # it is told of many a client that is no client
    runner = web.ServerRunner(web.Server(answer), keepalive_timeout=600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)))
