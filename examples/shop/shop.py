"""Serve the page and the two calls that it makes: python examples/shop/shop.py [PORT], then http://localhost:8000.

This file decides which calls of the API a browser may make.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

key = os.environ.get("API_KEY")  # stays here: a key in a page would be everyone's
headers = {"Authorization": f"Bearer {key}"} if key else {}
corrente = httpx.AsyncClient(base_url=os.environ.get("API_ADDRESS", "http://localhost:8080"), headers=headers)


async def page(_: Request) -> Response:
    return FileResponse(Path(__file__).with_name("index.html"))


async def click(request: Request) -> Response:
    return answered(await corrente.post("/v1/events/clicks", content=await request.body()))


async def recommend(request: Request) -> Response:
    user = quote(request.path_params["user"], safe="")  # one segment of the path, whatever is in it
    return answered(await corrente.get(f"/v1/recommendations/{user}", params=request.query_params))


def answered(answer: httpx.Response) -> Response:
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])


routes = [
    Route("/", page),
    Route("/v1/events/clicks", click, methods=["POST"]),
    Route("/v1/recommendations/{user:path}", recommend),
]

if __name__ == "__main__":
    uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
