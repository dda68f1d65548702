"""A tiny service for both protocols, as a program that can be killed: it tells its name, at once or when it may.

`python stand_in_server.py NAME HTTP_PORT GRPC_PORT FOLDER`. In FOLDER it writes NAME.asked and NAME.left, and looks for
NAME.unready and go.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

NAME, HTTP_PORT, GRPC_PORT, FOLDER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])


async def allowed() -> None:
    (FOLDER / f"{NAME}.asked").touch()
    while not (FOLDER / "go").exists():
        await asyncio.sleep(0.02)


async def ready(_: Request) -> Response:
    return Response(status_code=503 if (FOLDER / f"{NAME}.unready").exists() else 200)


async def tell(request: Request) -> Response:
    return JSONResponse({"name": NAME, "pid": os.getpid(), "bytes": len(await request.body())})


async def tell_slowly(request: Request) -> Response:
    waiting = asyncio.ensure_future(allowed())
    while not waiting.done():
        if await request.is_disconnected():
            (FOLDER / f"{NAME}.left").touch()
            waiting.cancel()
            return Response()
        await asyncio.sleep(0.02)
    return JSONResponse({"name": NAME})


async def watch(_: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: first\n\n"
        await allowed()
        yield b"data: second\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def grpc_name(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return NAME.encode()


async def grpc_slow(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await allowed()
    return NAME.encode()


async def grpc_watch(_: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield b"first"
    await allowed()
    yield b"second"


async def main() -> None:
    server = grpc.aio.server()
    handlers = {
        "Name": grpc.unary_unary_rpc_method_handler(grpc_name),
        "Slow": grpc.unary_unary_rpc_method_handler(grpc_slow),
        "Watch": grpc.unary_stream_rpc_method_handler(grpc_watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stand.In", handlers),))
    server.add_insecure_port(f"127.0.0.1:{GRPC_PORT}")
    await server.start()
    routes = [
        Route("/readyz", ready),
        Route("/name", tell, methods=["POST"]),
        Route("/slow", tell_slowly, methods=["POST"]),
        Route("/watch", watch),
    ]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", HTTP_PORT))
    await uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning")).serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
