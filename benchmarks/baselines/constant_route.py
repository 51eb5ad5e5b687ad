"""Bare FastAPI that answers a constant: no middleware, no parameters, on the server program that `corrente serve` uses.

This file decides what lists over HTTP are compared with.

    python -m benchmarks.baselines.constant_route PORT
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def constant() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
