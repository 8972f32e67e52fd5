"""A peer: the example under uvicorn.

python -m tests.bench.peer_asgi PORT
"""

import asyncio
import sys
from typing import Any

import uvicorn

HEADERS = [(b"content-type", b"text/html"), (b"content-length", b"52")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await asyncio.sleep(float(scope["query_string"].partition(b"=")[2]))
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"<html><body>Sorry to keep you waiting.</body></html>"})


print("serving", flush=True)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), backlog=5000, access_log=False, lifespan="off")
