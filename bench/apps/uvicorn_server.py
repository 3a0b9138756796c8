"""uvicorn with uvloop and httptools, a bare ASGI application.

Usage: uvicorn_server.py PORT [CERTIFICATE KEY]
"""

import sys

import uvicorn
from asgi import app

port, *files = sys.argv[1:]
secure = dict(zip(("ssl_certfile", "ssl_keyfile"), files, strict=True)) if files else {}
uvicorn.run(
    app,
    port=int(port),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
    timeout_keep_alive=600,
    **secure,
)
