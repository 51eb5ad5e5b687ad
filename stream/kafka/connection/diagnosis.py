"""The reason why Kafka can't be used, found step by step and given in one line.

aiokafka logs the reason of a failed connection and raises another error that hasn't got it, and it waits a minute for a
broker whose advertised address leads nowhere. Here each step is made by itself: the name, the port, TLS, the
authentication, the addresses that the cluster names, the rights on topics. The first step that fails is the reason.

This file decides the steps, their order and time limits, what is said of each failure, and which of them waiting can
mend.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import Missing, Needs, ask_rights, explain_missing
from stream.kafka.connection.sessions import Connection, connect
from stream.kafka.connection.tokens import TokenUnavailable
from stream.settings import PREFIX, Settings

STEP_SECONDS = 3.0
"""Longest wait for one server, from its name to its answer. There are three steps at most: the servers that a setting
names, a look at whether they speak TLS, and the brokers that they name."""


CLOSE_SECONDS = 0.5
"""Longest wait for the end of a connection."""


class Problem(NamedTuple):
    """The reason why Kafka can't be used.

    Attributes:
        text: one line that says what is wrong, where, and what would be right.
        may_heal: True if waiting can help: a server that starts, a name that becomes known, a right that is given.
    """

    text: str
    may_heal: bool


class KafkaUnusable(KafkaError):
    """Kafka can't be used; the text is that of a `Problem`."""

    def __str__(self) -> str:
        """The text alone; aiokafka's errors put their class before it."""
        return str(self.args[0])


async def require_kafka(settings: Settings, needs: Needs | None = None) -> None:
    """Return if Kafka can be used; takes ten seconds at most.

    Args:
        settings: addresses and security.
        needs: rights that are needed.

    Raises:
        KafkaUnusable: it can't.
        WrongSetting: as `client_options` does.
    """
    if problem := await find_problem(settings, needs):
        raise KafkaUnusable(problem.text)


async def find_problem(settings: Settings, needs: Needs | None = None) -> Problem | None:
    """The reason why Kafka can't be used, or None; takes ten seconds at most.

    One of the servers that the setting names suffices, as for any client, but every broker that it names has to answer.

    Raises:
        WrongSetting: as `client_options` does.
    """
    servers = [_host_and_port(server) for server in client_options(settings)["bootstrap_servers"]]
    found = await asyncio.gather(*(_try(settings, host, port) for host, port in servers))
    connections = [each for each in found if not isinstance(each, Problem)]
    try:
        if not connections:
            problems = [each for each in found if isinstance(each, Problem)]
            return next((each for each in problems if not each.may_heal), problems[0])
        return await _look_around(settings, connections[0], needs)
    finally:
        await _close(connections)


async def _look_around(settings: Settings, connection: Connection, needs: Needs | None) -> Problem | None:
    """Try the brokers that this one names, then ask for rights."""
    try:
        answer: Any = await connection.send(MetadataRequest([]))
        brokers = [(host, port) for _, host, port, *_ in answer.brokers]
        others = [each for each in brokers if each != (connection.host, connection.port)]
        found = await asyncio.gather(*(_try(settings, host, port) for host, port in others))
        await _close([each for each in found if not isinstance(each, Problem)])
        for broker, each in zip(others, found, strict=True):
            if isinstance(each, Problem):
                return _advertised(settings, broker, each)
        missing = await _missing_rights(connection, needs) if needs else []
    except (KafkaError, TimeoutError, OSError) as error:
        return _refused_request(settings, connection, error)
    return Problem(explain_missing(settings, missing), may_heal=True) if missing else None


async def _missing_rights(connection: Connection, needs: Needs) -> list[Missing]:
    def send(request: Any, _: int | None = None) -> Awaitable[Any]:
        return connection.send(
            request
        )  # every broker knows the rights on topics, and the coordinator those on the group

    return (await ask_rights(send, needs)).missing


async def _try(settings: Settings, host: str, port: int) -> Connection | Problem:
    """An authenticated connection to one server, or the reason why there is none."""
    options = {name: value for name, value in client_options(settings).items() if name != "bootstrap_servers"}
    place = f"Kafka at {host}:{port}"
    try:
        async with asyncio.timeout(STEP_SECONDS):
            return await connect(host, port, request_timeout_ms=int(STEP_SECONDS * 1000), **options)
    except (KafkaError, TimeoutError, OSError, ValueError, AssertionError) as error:
        if _closed(error) and not settings.kafka_security_protocol.endswith("SSL"):
            return _explain_closed(settings, place, error, speaks_tls=await _speaks_tls(host, port))
        return _explain(settings, place, host, error)


async def _close(connections: Sequence[Connection]) -> None:
    """Close connections, and wait until their sockets are closed, but not for a server that doesn't take part."""
    if closing := [connection.close() for connection in connections]:
        await asyncio.wait(closing, timeout=CLOSE_SECONDS)


def _explain(settings: Settings, place: str, host: str, error: BaseException) -> Problem:
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    set_protocol = f"{PREFIX}KAFKA_SECURITY_PROTOCOL"
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else None
    match cause if isinstance(cause, ssl.SSLError) else error:
        case TokenUnavailable():
            return Problem(f"{place}: {error}", may_heal=True)
        case SaslAuthenticationFailed() if mechanism == "OAUTHBEARER":
            return Problem(
                f"{place} refuses the token ({error}): see that its issuer, audience and scope are those that the "
                "broker expects",
                may_heal=False,
            )
        case SaslAuthenticationFailed():
            return Problem(
                f"{place} refuses the user {settings.kafka_sasl_username!r} or its password ({mechanism}): check "
                f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD",
                may_heal=False,
            )
        case UnsupportedSaslMechanismError():
            return Problem(
                f"{place} doesn't offer {mechanism}: set {PREFIX}KAFKA_SASL_MECHANISM to one of the broker's "
                "sasl.enabled.mechanisms",
                may_heal=False,
            )
        case IllegalSaslStateError():
            right = protocol.removeprefix("SASL_")
            return Problem(
                f"{place} wants no authentication on this port: set {set_protocol}={right}, or use the port of a "
                f"listener with {protocol}",
                may_heal=False,
            )
        case ssl.SSLCertVerificationError() as refused:
            return Problem(f"{place}: {_explain_certificate(refused, host)}", may_heal=False)
        case ssl.SSLError() as refused:
            reason = refused.reason or str(refused)
            return Problem(f"{place}: {_explain_tls(settings, reason)}", may_heal=_ends_early(reason))
        case socket.gaierror() as unknown:
            return Problem(
                f"{place}: the host name {host!r} can't be resolved ({unknown.strerror}). Check CORRENTE_KAFKA, and "
                "the DNS of this machine",
                may_heal=True,
            )
        case ConnectionRefusedError():
            return Problem(f"{place}: nothing listens there. Start it, or check CORRENTE_KAFKA", may_heal=True)
        case TimeoutError():
            return Problem(
                f"{place} does not answer within {STEP_SECONDS:g} s: check CORRENTE_KAFKA, a firewall in between, and "
                f"that the port is one of a listener with {protocol}",
                may_heal=True,
            )
        case KafkaConnectionError() if protocol == "SSL":  # closed after the handshake, before the first answer
            return Problem(f"{place}: {_explain_tls(settings, 'CERTIFICATE')}", may_heal=True)
        case _ if _closed(error) and protocol.endswith("SSL"):
            return Problem(f"{place}: {_explain_tls(settings, 'the connection was closed')}", may_heal=True)
    reason = str(error) or type(error).__name__
    return Problem(f"{place}: {reason}. Check CORRENTE_KAFKA, and see the broker's log", may_heal=True)


def _explain_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    why = error.verify_message
    if "mismatch" in why or "not valid for" in why:
        return (
            f"its certificate is not for {host!r} ({why}). Use a name that the certificate has, or set "
            f"{PREFIX}KAFKA_SSL_CHECK_HOSTNAME=false if it can't be changed"
        )
    if "expired" in why or "not yet valid" in why:
        return f"its certificate is not valid now ({why}): renew it, or set this machine's clock"
    return f"its certificate isn't trusted ({why}): set {PREFIX}KAFKA_SSL_CA_LOCATION to the file of its authority"


def _explain_tls(settings: Settings, reason: str) -> str:
    """A failure of TLS that isn't about the broker's certificate, by OpenSSL's name for it."""
    if any(each in reason for each in ("CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA")):
        return _no_certificate(settings)
    plain = "SASL_PLAINTEXT" if settings.kafka_security_protocol.startswith("SASL") else "PLAINTEXT"
    return (
        f"TLS does not come about ({reason}): a listener without TLS needs {PREFIX}KAFKA_SECURITY_PROTOCOL={plain}, "
        "one with TLS may have another port"
    )


def _ends_early(reason: str) -> bool:
    """True for a connection that ended in the middle, as those of a broker do that is killed or restarted."""
    return "EOF" in reason


def _no_certificate(settings: Settings) -> str:
    if settings.kafka_ssl_certificate_location:
        return (
            f"it refuses the certificate of this client: see that {PREFIX}KAFKA_SSL_CERTIFICATE_LOCATION is signed by "
            "an authority in the broker's truststore"
        )
    return f"it wants a certificate of this client: set {PREFIX}KAFKA_SSL_CERTIFICATE_LOCATION and …_KEY_LOCATION"


def _closed(error: BaseException) -> bool:
    """True if a server closed the connection without an answer, or a request was garbage to it."""
    return isinstance(error, KafkaConnectionError | ConnectionResetError | BrokenPipeError | EOFError | ValueError)


def _explain_closed(settings: Settings, place: str, error: BaseException, *, speaks_tls: bool) -> Problem:
    if speaks_tls:
        right = "SASL_SSL" if settings.kafka_security_protocol.startswith("SASL") else "SSL or SASL_SSL"
        return Problem(
            f"{place} speaks TLS, and {PREFIX}KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} doesn't: set "
            f"it to {right}",
            may_heal=False,
        )
    return Problem(f"{place} closes the connection ({error}): see the broker's log", may_heal=True)


def _refused_request(settings: Settings, connection: Connection, error: BaseException) -> Problem:
    """The reason why a first request got no answer although the connection stood."""
    place = f"Kafka at {connection.host}:{connection.port}"
    protocol = settings.kafka_security_protocol
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError):  # TLS 1.3: a client learns after the handshake that its certificate is refused
        reason = cause.reason or str(cause)
        return Problem(f"{place}: {_explain_tls(settings, reason)}", may_heal=_ends_early(reason))
    if isinstance(error, KafkaConnectionError) and not protocol.startswith("SASL"):
        secure = "SASL_SSL" if protocol == "SSL" else "SASL_PLAINTEXT"
        return Problem(
            f"{place} closes the connection after the first request, as a listener does that wants authentication: set "
            f"{PREFIX}KAFKA_SECURITY_PROTOCOL={secure}, {PREFIX}KAFKA_SASL_USERNAME and …_PASSWORD",
            may_heal=True,  # a broker that is killed closes its connections as well
        )
    return Problem(f"{place}: {str(error) or type(error).__name__}. See the broker's log", may_heal=True)


def _advertised(settings: Settings, broker: tuple[str, int], problem: Problem) -> Problem:
    """The problem of a broker that another one names."""
    host, port = broker
    _, _, why = problem.text.partition(f"Kafka at {host}:{port}")
    return Problem(
        f"Kafka at {settings.kafka} answers, and says that a broker is at {host}:{port}, which can't be used from here"
        f"{why or ': ' + problem.text}. Set the broker's advertised.listeners to an address that this machine reaches",
        problem.may_heal,
    )


async def _speaks_tls(host: str, port: int) -> bool:
    """Return whether a server answers a TLS handshake; its certificate doesn't matter, as nothing is sent to it."""
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(STEP_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=anything)
    except ssl.SSLError as error:
        return "CERTIFICATE" in (error.reason or "")
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
