"""TCP proxies between a client and Redis, for tests that break or change what is forwarded."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading

from stream.versions.storage import scripts

PUBLISH_SCRIPT = hashlib.sha1(scripts.PUBLISH.encode()).hexdigest().encode()


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


class BreakingProxy(TcpProxy):
    """Forwards TCP to Redis, until a request with the publishing script: then the line breaks before it, or after it.

    `break_before`: the request never arrives. `break_after`: it is carried out, and the answer never arrives.
    """

    def __init__(self, redis_port: int) -> None:
        self.break_before = self.break_after = False
        self.broken = 0
        super().__init__(redis_port)

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        answering = threading.Event()
        answering.set()
        threading.Thread(target=self._answer, args=(client, server, answering), daemon=True).start()
        while request := client.recv(1 << 20):
            publishing = PUBLISH_SCRIPT in request
            if publishing and self.break_before:
                self.break_before = False
                self.broken += 1
                return
            if publishing and self.break_after:
                self.break_after = False
                answering.clear()
                server.sendall(request)
                while answering.wait(0.001) is False:
                    pass
                self.broken += 1
                return
            server.sendall(request)

    def _answer(self, client: socket.socket, server: socket.socket, answering: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while answer := server.recv(1 << 20):
                if not answering.is_set():  # the answer that gets lost
                    answering.set()
                    return
                client.sendall(answer)
