"""A TCP proxy between a client and Redis, for tests that break or change what it forwards."""

from __future__ import annotations

import contextlib
import socket
import threading


class TcpProxy:
    """A proxy that accepts connections on `port` and makes one to Redis for each.

    Subclasses define `serve`, which forwards between the two; both are closed when it returns or raises `OSError`.
    """

    def __init__(self, redis_port: int) -> None:
        self._target = ("127.0.0.1", redis_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            self.serve(client, server)
