"""Certificates of the client: what is read, what can't be, and files that are renewed while a process runs."""

from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from stream.kafka.connection.tls import tls_context
from stream.settings import Settings, WrongSetting
from tests.connections.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def settings_with(**locations: object) -> Settings:
    fields = {
        f"kafka_ssl_{name}": str(value) if isinstance(value, Path) else value for name, value in locations.items()
    }
    return Settings(kafka_security_protocol="SSL", **fields)  # type: ignore[arg-type]


def test_clients_of_a_process_share_their_certificates(files: Certificates) -> None:
    settings = settings_with(ca_location=files.ca)
    assert tls_context(settings) is tls_context(settings)
    assert tls_context(settings) is not tls_context(settings_with(ca_location=files.other_ca))


def test_hosts_are_checked_unless_a_setting_says_otherwise(files: Certificates) -> None:
    assert tls_context(settings_with(ca_location=files.ca)).check_hostname
    unchecked = tls_context(settings_with(ca_location=files.ca, check_hostname=False))
    assert not unchecked.check_hostname
    assert unchecked.verify_mode is ssl.CERT_REQUIRED


def test_without_a_file_the_system_s_authorities_are_trusted() -> None:
    assert tls_context(settings_with()).verify_mode is ssl.CERT_REQUIRED


def test_a_renewed_certificate_is_read_again_and_an_unreadable_one_is_not(files: Certificates, tmp_path: Path) -> None:
    ca = Path(shutil.copy(files.ca, tmp_path / "ca.pem"))
    context = tls_context(settings_with(ca_location=ca))
    assert names_in(context) == {"Corrente tests ca"}
    shutil.copy(files.other_ca, ca)
    os.utime(ca, ns=(1, 1))
    context.refresh()
    assert "Corrente tests other-ca" in names_in(context)
    ca.write_text("half of a ce")
    with pytest.raises(ssl.SSLError):
        context.refresh()
    assert "Corrente tests other-ca" in names_in(context)


def names_in(context: ssl.SSLContext) -> set[str]:
    """Common names of the trusted authorities."""
    return {dict(part[0] for part in each["subject"])["commonName"] for each in context.get_ca_certs()}  # type: ignore[misc]


@pytest.mark.parametrize("name", ["CA", "CERTIFICATE", "KEY"])
def test_a_file_that_is_missing_is_named(files: Certificates, tmp_path: Path, name: str) -> None:
    given = {"ca_location": files.ca, "certificate_location": files.client, "key_location": files.client_key}
    given[f"{name.lower()}_location"] = tmp_path / "missing.pem"
    with pytest.raises(WrongSetting, match=rf"CORRENTE_KAFKA_SSL_{name}_LOCATION='.*missing.pem': this file can't be"):
        tls_context(settings_with(**given))


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(WrongSetting, match=r"CORRENTE_KAFKA_SSL_CA_LOCATION='.*' ?: this file holds no certificate"):
        tls_context(settings_with(ca_location=empty))


def test_another_key_than_the_certificate_s_is_named(files: Certificates) -> None:
    with pytest.raises(WrongSetting, match="the key isn't that of the certificate"):
        tls_context(
            settings_with(ca_location=files.ca, certificate_location=files.client, key_location=files.server_key)
        )


def test_an_encrypted_key_needs_its_password(files: Certificates, tmp_path: Path) -> None:
    locked = lock(files.client_key, tmp_path / "locked.pem", "k#y/?:@&%")
    given = {"ca_location": files.ca, "certificate_location": files.client, "key_location": locked}
    tls_context(settings_with(**given, key_password=SecretStr("k#y/?:@&%")))
    with pytest.raises(WrongSetting, match="CORRENTE_KAFKA_SSL_KEY_PASSWORD") as refused:
        tls_context(settings_with(**given, key_password=SecretStr("another")))
    assert "another" not in str(refused.value)


def lock(key: Path, into: Path, password: str) -> Path:
    """Encrypt a key."""
    import subprocess

    command = ["openssl", "pkcs8", "-topk8", "-in", str(key), "-out", str(into), "-passout", f"pass:{password}"]
    subprocess.run(command, check=True, capture_output=True)
    return into
