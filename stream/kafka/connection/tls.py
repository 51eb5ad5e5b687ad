"""Certificates: which ones are trusted, and which one this client shows.

Files are read when the first client is made, and again for a new connection if they have changed since: certificates
that are renewed on disk, as those of a cluster's certificate manager are, need no restart.

This file decides how they are read, and how a file that can't be read is reported.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from stream.settings import PREFIX, Settings, WrongSetting


class FileContext(ssl.SSLContext):
    """A client's TLS context that is made from files, and can read them again. Made by `tls_context`.

    Attributes:
        certificate, key: paths in PEM; empty if this client shows no certificate.
    """

    authorities: str
    certificate: str
    key: str
    key_password: str
    read_at: tuple[int, ...]

    def refresh(self) -> None:
        """Read the files again if one of them has changed.

        Raises:
            OSError, ssl.SSLError: one of them can't be read now. What was read before stays in use.
        """
        if (now := self._times()) != self.read_at:
            self.read()
            self.read_at = now

    def read(self) -> None:
        """Read the files.

        Raises:
            OSError: there is no such file, or it may not be read.
            ssl.SSLError: it holds no certificate or key, or the key's password is wrong.
        """
        if self.authorities:
            self.load_verify_locations(cafile=self.authorities)
        if self.certificate:
            # A function: OpenSSL would ask on the terminal for a password that is missing.
            self.load_cert_chain(self.certificate, self.key or None, lambda: self.key_password)

    def _times(self) -> tuple[int, ...]:
        paths = [path for path in (self.authorities, self.certificate, self.key) if path]
        return tuple(Path(path).stat().st_mtime_ns for path in paths)


def tls_context(settings: Settings) -> FileContext:
    """The TLS context of these settings; the same one for every client of the process.

    Raises:
        WrongSetting: a file can't be read, or isn't what it should be.
    """
    return _context(
        settings.kafka_ssl_ca_location,
        settings.kafka_ssl_certificate_location,
        settings.kafka_ssl_key_location,
        settings.kafka_ssl_key_password.get_secret_value(),
        settings.kafka_ssl_check_hostname,
    )


@lru_cache(maxsize=8)
def _context(authorities: str, certificate: str, key: str, key_password: str, check_hostname: bool) -> FileContext:
    context = FileContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_hostname
    context.authorities, context.certificate = authorities, certificate
    context.key, context.key_password = key, key_password
    for name, path in (("CA", authorities), ("CERTIFICATE", certificate), ("KEY", key)):
        _check_readable(f"{PREFIX}KAFKA_SSL_{name}_LOCATION", path)
    if not authorities:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    try:
        context.read_at = context._times()  # noqa: SLF001  of this file
        context.read()
    except OSError as error:  # ssl.SSLError is one
        raise WrongSetting(_explained(error, authorities, certificate, key)) from None
    return context


def _check_readable(name: str, path: str) -> None:
    try:
        if path:
            Path(path).read_bytes()
    except OSError as error:
        raise WrongSetting(f"{name}={path!r}: this file can't be read ({error.strerror}). Name a file in PEM") from None


def _explained(error: OSError, authorities: str, certificate: str, key: str) -> str:
    reason = getattr(error, "reason", None) or str(error)
    if authorities and "-----BEGIN CERTIFICATE" not in Path(authorities).read_text(errors="replace"):
        return f"{PREFIX}KAFKA_SSL_CA_LOCATION={authorities!r}: this file holds no certificate in PEM ({reason})"
    shown = f"{PREFIX}KAFKA_SSL_CERTIFICATE_LOCATION={certificate!r}"
    if key:
        shown += f" and {PREFIX}KAFKA_SSL_KEY_LOCATION={key!r}"
    if reason == "KEY_VALUES_MISMATCH":
        return f"{shown}: the key isn't that of the certificate"
    return (
        f"{shown}: certificate and key in PEM can't be read ({reason}). An encrypted key needs "
        f"{PREFIX}KAFKA_SSL_KEY_PASSWORD"
    )
