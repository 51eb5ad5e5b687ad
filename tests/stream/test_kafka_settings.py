"""Settings of connections to Kafka: protocols in addresses, combinations that make no sense, and secrets."""

from __future__ import annotations

import pytest

from stream.kafka_settings import PROTOCOLS
from stream.settings import WrongSetting, load_settings

PASSWORD = {"CORRENTE_KAFKA_SASL_USERNAME": "ada", "CORRENTE_KAFKA_SASL_PASSWORD": "k#y/?:@&%"}
CLIENT = {
    "CORRENTE_KAFKA_SASL_OAUTH_TOKEN_URL": "https://identity/token",
    "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_ID": "corrente",
    "CORRENTE_KAFKA_SASL_OAUTH_CLIENT_SECRET": "k#y",
}
OAUTH = {"CORRENTE_KAFKA": "SASL_SSL://one:9093", "CORRENTE_KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_address_may_name_its_protocol(protocol: str) -> None:
    sasl = PASSWORD if protocol.startswith("SASL") else {}
    settings = load_settings({"CORRENTE_KAFKA": f"{protocol.lower()}://one:9093, two:9093/", **sasl})
    assert (settings.kafka, settings.kafka_security_protocol) == ("one:9093,two:9093", protocol)


def test_an_address_without_a_protocol_takes_the_setting_s() -> None:
    settings = load_settings({"CORRENTE_KAFKA": "one:9093", "CORRENTE_KAFKA_SECURITY_PROTOCOL": "ssl"})
    assert (settings.kafka, settings.kafka_security_protocol) == ("one:9093", "SSL")


def test_an_address_and_the_setting_may_say_the_same() -> None:
    settings = load_settings({"CORRENTE_KAFKA": "SSL://one:9093", "CORRENTE_KAFKA_SECURITY_PROTOCOL": "SSL"})
    assert settings.kafka_security_protocol == "SSL"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CORRENTE_KAFKA": "http://one:9092"}, "HTTP:// is no protocol of Kafka"),
        ({"CORRENTE_KAFKA": "SSL://one:1,SASL_SSL://two:1"}, "one client speaks one protocol"),
        ({"CORRENTE_KAFKA": "SSL://one:1", "CORRENTE_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "name two protocols"),
        ({"CORRENTE_KAFKA": "SSL://one"}, "not host:port"),
        (PASSWORD, "PLAINTEXT has no SASL: set CORRENTE_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT or SASL_SSL"),
        (
            {"CORRENTE_KAFKA": "SSL://one:1", **PASSWORD},
            "SSL has no SASL: set CORRENTE_KAFKA_SECURITY_PROTOCOL=SASL_SSL",
        ),
        ({"CORRENTE_KAFKA_SSL_CA_LOCATION": "ca.pem"}, "PLAINTEXT has no TLS"),
        ({"CORRENTE_KAFKA": "SSL://one:1", "CORRENTE_KAFKA_SSL_KEY_LOCATION": "k.pem"}, "SSL_KEY_LOCATION needs it"),
        ({"CORRENTE_KAFKA": "SASL_SSL://one:1"}, "CORRENTE_KAFKA_SASL_USERNAME is not set, and PLAIN needs it"),
        (
            {"CORRENTE_KAFKA": "SASL_SSL://one:1", "CORRENTE_KAFKA_SASL_USERNAME": "ada"},
            "CORRENTE_KAFKA_SASL_PASSWORD is not set, and PLAIN needs it",
        ),
        ({"CORRENTE_KAFKA": "SASL_SSL://one:1", **PASSWORD, **CLIENT}, "TOKEN_URL is set, and PLAIN doesn't use it"),
        (OAUTH, "CORRENTE_KAFKA_SASL_OAUTH_TOKEN_URL is not set, and OAUTHBEARER needs it"),
        ({**OAUTH, **PASSWORD}, "CORRENTE_KAFKA_SASL_USERNAME is set, and OAUTHBEARER doesn't use it"),
        (
            {**OAUTH, **CLIENT, "CORRENTE_KAFKA_SASL_OAUTH_PROVIDER": "my_tokens:token"},
            "are both set: tokens come from one of them",
        ),
        ({"CORRENTE_KAFKA_SASL_MECHANISM": "GSSAPI"}, "CORRENTE_KAFKA_SASL_MECHANISM='GSSAPI'"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused_with_what_would_be_right(
    given: dict[str, str], said: str
) -> None:
    with pytest.raises(WrongSetting) as refused:
        load_settings(given)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "given", [{**OAUTH, **CLIENT}, {**OAUTH, "CORRENTE_KAFKA_SASL_OAUTH_PROVIDER": "my_tokens:token"}]
)
def test_tokens_come_from_a_server_or_from_a_function(given: dict[str, str]) -> None:
    assert load_settings(given).kafka_sasl_mechanism == "OAUTHBEARER"


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    settings = load_settings({"CORRENTE_KAFKA": "SASL_SSL://one:1", **PASSWORD})
    assert settings.kafka_sasl_password.get_secret_value() == "k#y/?:@&%"
    assert "k#y" not in repr(settings) + str(settings.model_dump())
