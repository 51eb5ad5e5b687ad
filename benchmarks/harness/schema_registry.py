"""A schema registry on a free port of this machine, for benchmarks and tests: the part that readers ask.

It answers as Confluent's does (https://docs.confluent.io/platform/current/schema-registry/develop/api.html), with the
same errors, and keeps what is registered in memory. Producers can register schemas. It can be stopped and started again
on its port, ask for a user and a password, speak TLS and ask for a certificate.

This file decides which requests it answers. It checks no compatibility, and takes every text for a schema. A schema of
Protobuf is registered as the base64 of its `FileDescriptorProto`, and shown so if that is asked for.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import uuid
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit


class Registered(NamedTuple):
    """A schema of the registry.

    Attributes:
        format: `AVRO`, `JSON` or `PROTOBUF`.
        text: that is answered.
        references: name, subject and version of each schema that it refers to.
        subject, version: under which others refer to it.
    """

    format: str
    text: str
    references: tuple[tuple[str, str, int], ...]
    subject: str
    version: int


class SchemaRegistry:
    """A registry that runs from `start` to `stop`, or within `with`.

    Args:
        path: below which it answers, such as `/apis/registry`.
        user: name and password that it asks for; None for no authentication.
        certificate: files in PEM with certificate and key; None for no TLS.
        client_ca: file in PEM with the authority of the certificate that clients have to show; None for none.

    Attributes:
        asked: path of every request so far.
        serialises: False for a registry that gives Protobuf as text alone.
        failing: status that every request gets; None while it is well.
    """

    def __init__(
        self,
        path: str = "",
        user: tuple[str, str] | None = None,
        certificate: tuple[str, str] | None = None,
        client_ca: str | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.serialises = True
        self.failing: int | None = None
        self._path, self._user, self._certificate, self._client_ca = path, user, certificate, client_ca
        self._schemas: list[Registered] = []
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Address for `CORRENTE_SCHEMA_REGISTRY`."""
        return f"{'https' if self._certificate else 'http'}://localhost:{self._port}{self._path}"

    def register(
        self,
        text: str,
        format: str = "AVRO",  # noqa: A002  the registry's own word
        *,
        references: Sequence[tuple[str, str, int]] = (),
        subject: str = "events-value",
    ) -> int:
        """Register a schema; return its id."""
        version = 1 + sum(each.subject == subject for each in self._schemas)
        self._schemas.append(Registered(format, text, tuple(references), subject, version))
        return len(self._schemas)

    @staticmethod
    def guid(number: int) -> uuid.UUID:
        """The GUID of the schema with this id."""
        return uuid.UUID(int=number)

    def start(self) -> Self:
        """Answer from now on, on the same port as before."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(*registry.answer(self.path, self.headers.get("Authorization", "")))

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(*registry.answer(self.path, self.headers.get("Authorization", ""), sent))

            def _send(self, status: int, answer: Any) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("localhost", self._port), Handler)
        self._server.daemon_threads = True
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections until `start`."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, target: str, authorization: str, sent: Any = None) -> tuple[int, Any]:
        """Status and JSON of the answer to a request; `sent` is the JSON object of one that registers a schema."""
        self.asked.append(target)
        if self.failing is not None:
            return self.failing, {"error_code": self.failing * 100 + 1, "message": "not well"}
        if self._user is not None:
            expected = base64.b64encode(":".join(self._user).encode()).decode()
            if authorization != f"Basic {expected}":
                return 401, {"error_code": 40101, "message": "Unauthorized"}
        parts = urlsplit(target)
        if not parts.path.startswith(f"{self._path}/"):
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        serialized = self.serialises and "format=serialized" in parts.query
        match [unquote(part) for part in parts.path.removeprefix(f"{self._path}/").split("/")]:
            case ["subjects", subject, "versions"] if sent is not None:
                return 200, {"id": self._register_sent(subject, sent)}
            case ["subjects", subject] if sent is not None:
                found = self._schemas[self._register_sent(subject, sent) - 1]
                return 200, self._shown(found, serialized=True) | self._named(found)
            case ["subjects", subject, "versions", "latest"]:
                for each in reversed(self._schemas):
                    if each.subject == subject:
                        return 200, self._shown(each, serialized) | self._named(each)
                return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
            case ["schemas", "ids", number]:
                if int(number) > len(self._schemas) or int(number) < 1:
                    return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
                return 200, self._shown(self._schemas[int(number) - 1], serialized)
            case ["schemas", "guids", guid]:
                of_guid = uuid.UUID(guid).int
                if of_guid > len(self._schemas) or of_guid < 1:
                    return 404, {"error_code": 40403, "message": f"Schema {guid} not found"}
                return 200, self._shown(self._schemas[of_guid - 1], serialized)
            case ["subjects", subject, "versions", version]:
                for each in self._schemas:
                    if (each.subject, str(each.version)) == (subject, version):
                        return 200, self._shown(each, serialized) | self._named(each)
                return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _register_sent(self, subject: str, sent: Any) -> int:
        """The id of a schema that a producer sends, which has one already if it was sent before."""
        references = tuple((each["name"], each["subject"], each["version"]) for each in sent.get("references") or ())
        kind = sent.get("schemaType") or "AVRO"
        for number, each in enumerate(self._schemas, 1):
            if (each.subject, each.format, each.text, each.references) == (subject, kind, sent["schema"], references):
                return number
        return self.register(sent["schema"], kind, references=references, subject=subject)

    def _named(self, schema: Registered) -> dict[str, Any]:
        return {"subject": schema.subject, "version": schema.version, "id": self._schemas.index(schema) + 1}

    @staticmethod
    def _shown(schema: Registered, serialized: bool) -> dict[str, Any]:
        of_text = schema.format == "PROTOBUF" and not serialized
        shown: dict[str, Any] = {"schema": "// as a registry writes it" if of_text else schema.text}
        if schema.format != "AVRO":  # the registry leaves out what it was made for first
            shown["schemaType"] = schema.format
        if schema.references:
            shown["references"] = [
                {"name": name, "subject": subject, "version": version} for name, subject, version in schema.references
            ]
        return shown
