"""Kafka as people run it: one real broker with a listener of each kind, and the settings for each.

    with SecuredKafka(folder) as kafka:
        side = kafka.side("SCRAM-512")
        start_a_worker({**environment, **side.environment})

One broker has all listeners, because a broker takes seconds to start. Every user has a password with characters that
mean something in addresses, and sessions of SASL listeners end after `SESSION_SECONDS`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from benchmarks.harness.servers import KafkaServer, free_port
from tests.connections.certificates import Certificates, make_certificates

USER, PASSWORD = "corrente", "k#fka/w?th:s@me&%chars"
STRANGER = "stranger"
"""A user of the SCRAM listener who is given no right to topics that have rules."""

SESSION_SECONDS = 10
SIDES = ("PLAINTEXT", "TLS", "mTLS", "SASL_PLAIN", "SCRAM-256", "SCRAM-512", "OAUTHBEARER", "ACL denied")


@dataclass
class KafkaSide:
    """One kind of connection to Kafka.

    Attributes:
        name: of the kind.
        environment: the settings that connect.
        wrong: settings to lay over those, with a wrong password, certificate or protocol.
        wrong_says: a part of the message that follows.
    """

    name: str
    environment: dict[str, str]
    wrong: dict[str, str] = field(default_factory=dict)
    wrong_says: str = ""


class TokenServer:
    """A token endpoint for client credentials, in a thread of its own.

    Tokens are unsecured (RFC 7519, section 6): the broker of a test trusts each. Counts `asked`, the tokens given.

    Args:
        lifetime_seconds: of a token.
    """

    def __init__(self, lifetime_seconds: float = 3600.0) -> None:
        self.asked = 0
        self.lifetime_seconds = lifetime_seconds
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Give a token to the client that is known, and the error of RFC 6749 to others."""
        form = parse_qs(request.rfile.read(int(request.headers["content-length"])).decode())
        _, _, basic = request.headers.get("authorization", "").partition(" ")
        client, _, secret = base64.b64decode(basic).decode().partition(":")
        known = (unquote(client), unquote(secret)) == (USER, PASSWORD)
        if known and form["grant_type"] == ["client_credentials"]:
            self.asked += 1
            status, body = 200, {"access_token": self.token(unquote(client)), "expires_in": self.lifetime_seconds}
        else:
            status, body = 401, {"error": "invalid_client"}
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def token(self, subject: str) -> str:
        now = time.time()
        claims = {"sub": subject, "iat": int(now), "exp": int(now + self.lifetime_seconds)}
        return f"{_base64({'alg': 'none'})}.{_base64(claims)}."


def _base64(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class SecuredKafka:
    """One Kafka with all listeners, and a token server; a context manager.

    Args:
        folder: for data, certificates and log.
        session_seconds: for which a connection with SASL may be used without another authentication.
    """

    def __init__(self, folder: Path, session_seconds: float = SESSION_SECONDS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tokens = TokenServer()
        self.certificates = make_certificates(folder / "certificates")
        self._ports = {name: free_port() for name in ("TLS", "MTLS", "PLAIN", "SCRAM", "OAUTH", "LOST")}
        self.server = KafkaServer(folder / "kafka", users={USER: PASSWORD, STRANGER: PASSWORD}, brief=True)
        self.server.settings |= self._listeners(session_seconds)

    def __enter__(self) -> Self:
        self.tokens.__enter__()
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop(kill=True)
        self.tokens.__exit__()

    def side(self, name: str) -> KafkaSide:
        """The settings of one kind, out of `SIDES`."""
        files = self.certificates
        ca = {"CORRENTE_KAFKA_SSL_CA_LOCATION": str(files.ca)}
        client = {
            "CORRENTE_KAFKA_SSL_CERTIFICATE_LOCATION": str(files.client),
            "CORRENTE_KAFKA_SSL_KEY_LOCATION": str(files.client_key),
        }
        match name:
            case "PLAINTEXT":
                wrong = {"CORRENTE_KAFKA": self.address("LOST"), "CORRENTE_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}
                return KafkaSide(name, {"CORRENTE_KAFKA": self.server.bootstrap}, wrong, "advertised.listeners")
            case "TLS":
                wrong = {"CORRENTE_KAFKA_SSL_CA_LOCATION": str(files.other_ca)}
                return KafkaSide(name, self._at("SSL", "TLS") | ca, wrong, "isn't trusted")
            case "mTLS":
                wrong = dict.fromkeys(client, "")
                return KafkaSide(name, self._at("SSL", "MTLS") | ca | client, wrong, "wants a certificate")
            case "OAUTHBEARER":
                oauth = {
                    "CORRENTE_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
                    "CORRENTE_KAFKA_SASL_OAUTH_TOKEN_URL": self.tokens.url,
                    "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_ID": USER,
                    "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_SECRET": PASSWORD,
                }
                wrong = {"CORRENTE_KAFKA_SASL_OAUTH_CLIENT_SECRET": "another"}
                return KafkaSide(name, self._at("SASL_SSL", "OAUTH") | ca | oauth, wrong, "invalid_client")
        listener, mechanism = {
            "SASL_PLAIN": ("PLAIN", "PLAIN"),
            "SCRAM-256": ("SCRAM", "SCRAM-SHA-256"),
            "SCRAM-512": ("SCRAM", "SCRAM-SHA-512"),
            "ACL denied": ("SCRAM", "SCRAM-SHA-512"),
        }[name]
        password = {
            "CORRENTE_KAFKA_SASL_MECHANISM": mechanism,
            "CORRENTE_KAFKA_SASL_USERNAME": USER,
            "CORRENTE_KAFKA_SASL_PASSWORD": PASSWORD,
        }
        environment = self._at("SASL_SSL", listener) | ca | password
        if name == "ACL denied":
            return KafkaSide(name, environment, {"CORRENTE_KAFKA_SASL_USERNAME": STRANGER}, "has no right to")
        return KafkaSide(name, environment, {"CORRENTE_KAFKA_SASL_PASSWORD": "another"}, "refuses the user 'corrente'")

    def address(self, listener: str) -> str:
        """Host and port of one listener. `LOST` advertises an address that can't be resolved."""
        return f"127.0.0.1:{self._ports[listener]}"

    def keep_strangers_out(self, topics: Sequence[str]) -> None:
        """Give `USER` every right on these topics; everyone else loses theirs."""
        self.allow(USER, AclOperation.ALL, topics)

    def allow(
        self,
        user: str,
        operation: AclOperation,
        names: Sequence[str],
        kind: ResourceType = ResourceType.TOPIC,
    ) -> None:
        """Give a user a right on topics, or on groups; everyone who has got none loses theirs."""
        rules = [
            AclBinding(
                kind,
                name,
                ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for name in names
        ]
        admin = AdminClient({"bootstrap.servers": self.server.bootstrap})  # ends with its last reference
        for done in admin.create_acls(rules).values():
            done.result(10.0)

    def _at(self, protocol: str, listener: str) -> dict[str, str]:
        return {"CORRENTE_KAFKA": f"{protocol}://{self.address(listener)}"}

    def _listeners(self, session_seconds: float) -> dict[str, str]:
        server = self.server
        places = {"PLAINTEXT": server.port, **self._ports}
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in places.items()]
        # All addresses of this machine, so that one of them isn't in the certificate.
        bound = [each.replace("TLS://127.0.0.1", "TLS://0.0.0.0") for each in listeners]
        protocols = {
            "PLAINTEXT": "PLAINTEXT",
            "LOST": "PLAINTEXT",
            "TLS": "SSL",
            "MTLS": "SSL",
            "PLAIN": "SASL_SSL",
            "SCRAM": "SASL_SSL",
            "OAUTH": "SASL_SSL",
            "CONTROLLER": "PLAINTEXT",
        }
        login = "org.apache.kafka.common.security"
        return {
            "listeners": ",".join([*bound, f"CONTROLLER://127.0.0.1:{server.controller_port}"]),
            "advertised.listeners": ",".join(
                each if not each.startswith("LOST") else f"LOST://nowhere.invalid:{self._ports['LOST']}"
                for each in listeners
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{name}:{each}" for name, each in protocols.items()),
            **_stores(self.certificates),
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plain.plain.sasl.jaas.config": (
                f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.oauth.oauthbearer.sasl.jaas.config": (
                f'{login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
            ),
            "connections.max.reauth.ms": str(int(session_seconds * 1000)),
            "message.max.bytes": "33554432",  # as the Kafka of the other integration tests has it
            "replica.fetch.max.bytes": "33554432",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:ANONYMOUS",
        }


def _stores(files: Certificates) -> dict[str, str]:
    """The broker's certificate, in one file with its key, and the authority that it trusts."""
    both = files.server.with_name("server-with-key.pem")
    both.write_text(files.server_key.read_text() + files.server.read_text())
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files.ca),
    }
