"""A peer: the example and a stream under aiohttp.

python -m tests.bench.peer_aiohttp PORT
"""

import asyncio
import sys

from aiohttp import web


async def delayed(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query["delay"]))
    return web.Response(text="<html><body>Sorry to keep you waiting.</body></html>", content_type="text/html")


async def sse(request: web.Request) -> web.StreamResponse:
    count, every = int(request.query["count"]), float(request.query["every"])
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    clock = asyncio.get_running_loop().time
    started = clock()
    for number in range(count):
        await asyncio.sleep(started + number * every - clock())
        await answer.write(
            b'id: %d\ndata: {"n": %d, "left_ms": %.3f}\n\n' % (number, number, (clock() - started) * 1000)
        )
    return answer


app = web.Application()
app.router.add_get("/delayed", delayed)
app.router.add_get("/sse", sse)
print("serving", flush=True)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), backlog=5000, access_log=None, print=None)
