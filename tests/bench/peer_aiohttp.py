"""A peer: the example under aiohttp.

python -m tests.bench.peer_aiohttp PORT
"""

import asyncio
import sys

from aiohttp import web


async def delayed(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query["delay"]))
    return web.Response(text="<html><body>Sorry to keep you waiting.</body></html>", content_type="text/html")


app = web.Application()
app.router.add_get("/delayed", delayed)
print("serving", flush=True)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), backlog=5000, access_log=None, print=None)
