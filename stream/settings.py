"""Settings, typed, from the environment: `CORRENTE_<NAME>`, and `CORRENTE_MODEL__<NAME>` for the model's.

This file decides which settings there are, their defaults and limits, and which place wins. How variables, the files
that they name and a file of settings are read is decided in `stream.configuration`. The documentation's list is made
from this file. A variable that starts with `CORRENTE_` and names no setting, or a value that doesn't fit, stops
the program at its start with the name, the value and what would be right: a misspelt setting that is silently ignored
does more harm than an error. Variables that Kubernetes sets for a Service called `corrente` are left out.

`ModelSettings` are part of every version: two shards with the same model settings that learn the same records have
equal tables. Among the other settings only `fields`, `mapping` and `max_future_seconds` affect what is learned: they
decide which records are accepted, and as which events.

>>> load_settings({"CORRENTE_PORT": "9000", "CORRENTE_MODEL__SEED": "7"}).model.seed
7
>>> load_settings({"CORRENTE_PROT": "9000"})
Traceback (most recent call last):
stream.configuration.errors.WrongSetting: CORRENTE_PROT='9000': there is no such setting. Did you mean CORRENTE_PORT?
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from stream.access_settings import AccessSettings, LimitSettings
from stream.configuration.errors import WrongSetting
from stream.configuration.messages import check_json, explained, log_unknown_kinds
from stream.configuration.nearest import shown
from stream.configuration.redis_address import RedisAddress, WrongAddress, parse_redis_address
from stream.configuration.rows import SettingRow, rows_of
from stream.configuration.settings_file import SettingsFile
from stream.configuration.sources import from_environment, merged, nested_values, under_present_names
from stream.ingest.mapping.loading import load_mapping
from stream.ingest.mapping.plan import MappingPlan
from stream.kafka_settings import DocumentTopicSettings, check_servers, security_problem, with_protocol
from stream.models.settings import KNOWN_KINDS, ModelSettings
from stream.models.settings import RENAMED as RENAMED_OF_MODEL
from stream.registry_settings import RegistrySettings
from stream.service_links import service_links
from stream.setting_checks import (
    check_different,
    check_fields,
    check_group,
    check_mapping,
    check_networks,
    check_root_path,
    check_topic,
)

__all__ = [
    "DEFAULT_MODEL",
    "NESTED",
    "PREFIX",
    "RENAMED",
    "SettingRow",
    "Settings",
    "WrongSetting",
    "load_settings",
    "resolve",
    "setting_names",
    "setting_table",
]

PREFIX = "CORRENTE_"
NESTED = "__"
DEFAULT_MODEL = "default"
CONFIG = PREFIX + "CONFIG"

RENAMED: Mapping[str, str] = {
    PREFIX + "AHEAD_SECONDS": PREFIX + "MAX_FUTURE_SECONDS",
    PREFIX + "SAMPLE_SHARE": PREFIX + "TEST_CPU_SHARE",
    PREFIX + "BODY_BYTES": PREFIX + "MAX_BODY_BYTES",
    **{f"{PREFIX}MODEL__{old.upper()}": f"{PREFIX}MODEL__{new.upper()}" for old, new in RENAMED_OF_MODEL.items()},
}
"""Names of variables in release 0.1 to their present names. The old ones still work and log one line each."""


class Settings(AccessSettings, LimitSettings, RegistrySettings, DocumentTopicSettings, BaseSettings):
    """Addresses, names, limits and intervals. Made by `load_settings`; the class itself reads no environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True, validate_default=True
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # sources that aren't used have no name here
        cls, _: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    config: str = Field(
        "", description="File of settings (TOML). A variable wins over it; it can hold a table for each model."
    )

    # ---- Kafka
    kafka: str = Field(
        "localhost:9092",
        description="Bootstrap servers, `host:port`, separated by commas. `SASL_SSL://host:port` names the security "
        "protocol too.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Encryption (`…SSL`) and authentication by SASL (`SASL_…`) of connections to Kafka."
    )
    kafka_ssl_ca_location: str = Field(
        "", description="File in PEM with the authorities that sign brokers' certificates; by default the system's."
    )
    kafka_ssl_certificate_location: str = Field(
        "", description="File in PEM with this client's certificate, and its chain, for mTLS."
    )
    kafka_ssl_key_location: str = Field(
        "", description="File in PEM with this client's key, unless the certificate's file has it."
    )
    kafka_ssl_key_password: SecretStr = Field(SecretStr(""), description="Password of the key.")
    kafka_ssl_check_hostname: bool = Field(
        True, description="Check that a broker's certificate names the host that was connected to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "PLAIN", description="Kind of authentication, if the security protocol is `SASL_…`."
    )
    kafka_sasl_username: str = Field("", description="User for `PLAIN` and `SCRAM-…`.")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="Password for `PLAIN` and `SCRAM-…`.")
    kafka_sasl_oauth_token_url: str = Field(
        "", description="Token endpoint for `OAUTHBEARER`, which is asked with client credentials."
    )
    kafka_sasl_oauth_client_id: str = Field("", description="Client id for the token endpoint.")
    kafka_sasl_oauth_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret for the token endpoint."
    )
    kafka_sasl_oauth_scope: str = Field("", description="Scope that is asked for; empty leaves it to the token server.")
    kafka_sasl_oauth_provider: str = Field(
        "",
        description="Function that makes tokens in place of the token endpoint, `module:function`; it returns the "
        "token and its lifetime in seconds.",
    )
    group: Annotated[str, AfterValidator(check_group)] = Field(
        "",
        description="Kafka consumer group of the workers. By default `corrente` for the model `default`, and "
        "`corrente-NAME` for a model called NAME: each model needs a group of its own.",
    )
    clicks_topic: str = Field("clicks", description="Topic with clicks.")
    purchases_topic: str = Field("purchases", description="Topic with purchases.")
    feedback_topic: str = Field("feedback", description="Topic with feedback.")
    dead_letters_topic: str = Field("dead-letters", description="Topic for records that could not be learned.")
    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Partitions of topics that Corrente creates itself."
    )
    create_topics: bool = Field(
        True,
        description="Create missing topics at start. Off, a missing topic of purchases or feedback is learned from "
        "when it appears.",
    )
    shards: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="Shards of the model, each of which learns the partitions whose number modulo this one is its own. "
        "One is right up to some 100,000 events a second, whatever the number of partitions.",
    )
    allow_uneven_shards: bool = Field(
        False,
        description="Allow a number of shards that doesn't divide the partitions of every topic, although events of "
        "one visitor are then learned by different shards.",
    )
    other_topics: Literal["learn", "refuse"] = Field(
        "learn",
        description="A topic that was created again, or another one in its place: `learn` it from its beginning, or "
        "`refuse` it, so that its shards stand still.",
    )
    moved_to_cluster: str = Field(
        "",
        description="Id of the Kafka cluster to which this model moves; its topics are learned from their beginning.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='Our field name to your producers\', as JSON: `{"item": "product_id", "user": "customer"}`.',
    )
    mapping: Annotated[str, AfterValidator(check_mapping)] = Field(
        "",
        description="How your producers' records become events, in place of `CORRENTE_FIELDS`: a file (YAML), or the "
        "name of a ready-made mapping such as `ga4` (`corrente mapping list`).",
    )
    session_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="A worker whose heartbeats stop for this long loses its partitions."
    )
    max_future_seconds: Annotated[float, Field(ge=0)] = Field(
        300.0, description="Largest lead of an event's own time over the record's (Kafka) or the clock (HTTP)."
    )

    # ---- versions
    redis: str = Field(
        "redis://localhost:6379/0",
        repr=False,
        description="Address of the Redis that holds the versions: `redis://host:port/0`, `rediss://…` (TLS), "
        "`unix:///path`, `redis+sentinel://host:port,host:port/service` or `redis+cluster://host:port,host:port`.",
    )
    redis_username: str = Field("", description="User of Redis (ACL); wins over a user in the address.")
    redis_password: str = Field(
        "", repr=False, description="Password of Redis, taken literally; wins over a password in the address."
    )
    redis_sentinel_username: str = Field("", description="User of the sentinels, if they have users of their own.")
    redis_sentinel_password: str = Field(
        "", repr=False, description="Password of the sentinels; that of Redis is not sent to them."
    )
    redis_ca_file: str = Field(
        "",
        description="Certificates (PEM) of the authorities that may sign Redis's certificate; by default those of the "
        "system.",
    )
    redis_certificate_file: str = Field(
        "", description="Certificate (PEM) that this program shows to Redis, where Redis asks for one."
    )
    redis_key_file: str = Field("", description="Private key (PEM) of that certificate, if it is in a file of its own.")
    allow_eviction: bool = Field(
        False,
        description="Allow a Redis whose `maxmemory-policy` may evict any key, although parts of versions may be lost.",
    )
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        DEFAULT_MODEL, description="Name of the model; several can share a Redis."
    )
    publish_seconds: Annotated[float, Field(gt=0)] = Field(
        0.05,
        description="Interval between versions while events flow; longer if publishing takes long.",
    )
    keep_last: Annotated[int, Field(ge=2)] = Field(64, description="Number of newest versions that are all kept.")
    keep_minutes: Annotated[int, Field(ge=0)] = Field(60, description="Minutes for which one version a minute is kept.")
    keep_hours: Annotated[int, Field(ge=0)] = Field(48, description="Hours for which one version an hour is kept.")
    keep_days: Annotated[int, Field(ge=0)] = Field(30, description="Days for which one version a day is kept.")

    # ---- learning
    test_cpu_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15,
        description="Share of learning's CPU time that testing and the ranker may take; with 1, every event is tested.",
    )
    sample_floor: Annotated[float, Field(ge=0)] = Field(
        20.0, description="Least number of events a second that are tested."
    )

    # ---- serving
    host: str = Field("127.0.0.1", description="Address that the HTTP server binds.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="Port of the HTTP server; 0 picks a free one."
    )
    server_processes: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Processes that answer on the port; more than one share one copy of the model (Linux)."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        4_194_304, description="Largest body that the HTTP server reads."
    )
    max_body_events: Annotated[int, Field(ge=1)] = Field(
        10_000, description="Most events, or records of a mapped topic, that one body posts."
    )
    max_head_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = Field(
        65_536, description="Largest request line with headers that the HTTP server reads."
    )
    head_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Longest time from the first byte of a request to the end of its headers."
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Longest time for the body of a request, and for a client to take its answer."
    )
    keep_alive_seconds: Annotated[float, Field(gt=0)] = Field(
        75.0,
        description="Time for which the HTTP server keeps a connection open without a request. It has to be longer "
        "than that of a load balancer before it, which may otherwise use a connection that is just being closed.",
    )
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$"), AfterValidator(check_root_path)] = Field(
        "", description="Path under which a proxy offers the HTTP server, such as `/shop`; the proxy may strip it."
    )
    trusted_proxies: Annotated[str, AfterValidator(check_networks)] = Field(
        "127.0.0.1,::1",
        description="Addresses or networks of proxies, separated by commas, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` count; `*` trusts everyone.",
    )
    acknowledge_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Longest time the HTTP server waits for Kafka to acknowledge posted events."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Interval at which a server looks for a new version if no announcement comes."
    )
    resident_versions: Annotated[int, Field(ge=2)] = Field(
        6, description="Versions a server holds in memory: the served, the previous, and those requested by number."
    )
    metrics_host: str = Field("127.0.0.1", description="Address that the worker's metrics bind.")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port of the worker's metrics; 0 turns them off."
    )
    log_format: Literal["console", "json"] = Field("console", description="Form of the logs.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    model: ModelSettings = Field(default_factory=ModelSettings, description="The model's own settings.")

    @model_validator(mode="before")
    @classmethod
    def _protocol_of_addresses(cls, values: Any) -> Any:
        return with_protocol(values) if isinstance(values, dict) else values

    @field_validator("kafka")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        check_servers(value)
        return value

    @field_validator("clicks_topic", "purchases_topic", "feedback_topic", "dead_letters_topic")
    @classmethod
    def _topic(cls, value: str) -> str:
        return check_topic(value)

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: dict[str, str]) -> dict[str, str]:
        check_fields(value)
        return value

    @model_validator(mode="after")
    def _one_redis(self) -> Settings:
        try:
            self.redis_address  # noqa: B018  an address that can't be used is refused at the start
        except WrongAddress as error:
            raise ValueError(f"{PREFIX}REDIS={shown('REDIS', self.redis)}: {error}") from None
        return self

    @model_validator(mode="after")
    def _a_salt(self) -> Settings:
        if not self.model.visitor_salt.strip():  # here and not in the model's settings: old manifests may have it
            raise ValueError(
                f"{PREFIX}MODEL{NESTED}VISITOR_SALT is empty, so anyone could compute the hash under which a visitor "
                "is kept: set it to the output of `openssl rand -hex 32`, or leave it out for a trial on one machine"
            )
        return self

    @model_validator(mode="after")
    def _different_topics(self) -> Settings:
        check_different(PREFIX, {**self.topics, **self.document_topics, "dead_letters": self.dead_letters_topic})
        return self

    @model_validator(mode="after")
    def _complete_security(self) -> Settings:
        if problem := security_problem({name: getattr(self, name) for name in type(self).model_fields}):
            raise ValueError(problem)
        return self

    @property
    def redis_address(self) -> RedisAddress:
        """Address of Redis together with the credentials and certificates that have settings of their own.

        >>> Settings(redis="redis://shop@cache/1", redis_password="s#cret").redis_address
        RedisAddress(kind='server', tls=False, hosts=(('cache', 6379),), path='', service='', db=1, sentinel_tls=False)
        """
        return parse_redis_address(
            self.redis,
            username=self.redis_username,
            password=self.redis_password,
            sentinel_username=self.redis_sentinel_username,
            sentinel_password=self.redis_sentinel_password,
            ca_file=self.redis_ca_file,
            certificate_file=self.redis_certificate_file,
            key_file=self.redis_key_file,
        )

    @property
    def mapping_plan(self) -> MappingPlan | None:
        """The mapping of producers' records, ready to be applied; None if there is none."""
        return load_mapping(self.mapping) if self.mapping else None

    @property
    def consumer_group(self) -> str:
        """Kafka consumer group of the workers: `group`, or the model's own if that is empty.

        >>> Settings(model_name="shop").consumer_group, Settings().consumer_group, Settings(group="mine").consumer_group
        ('corrente-shop', 'corrente', 'mine')
        """
        return self.group or ("corrente" if self.model_name == DEFAULT_MODEL else f"corrente-{self.model_name}")

    @property
    def topics(self) -> dict[str, str]:
        """Our name of each event topic to its name in Kafka, in the order of the merge."""
        return {"clicks": self.clicks_topic, "purchases": self.purchases_topic, "feedback": self.feedback_topic}


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment and the file that it names, with `overrides` (command-line options) winning.

    A variable wins over the file of settings (`CORRENTE_CONFIG`), and its table for the model over the rest of it.

    Args:
        environment: variables; `os.environ` if None.
        overrides: values by the names of fields.

    Raises:
        WrongSetting: a `CORRENTE_` variable or a line of the file names no setting, or a value doesn't fit.
    """
    return resolve(environment, **overrides)[0]


def resolve(environment: Mapping[str, str] | None = None, **overrides: Any) -> tuple[Settings, dict[str, str]]:
    """The settings (see `load_settings`), and the origin of each that is given, by the name of its variable."""
    variables = os.environ if environment is None else environment
    ours = {name.upper(): value for name, value in variables.items() if name.upper().startswith(PREFIX)}
    links = service_links(ours)
    ours = under_present_names({name: value for name, value in ours.items() if name not in links}, RENAMED)
    described = {row.name: row for row in setting_table()}
    given = from_environment(ours, described, PREFIX)
    for name, each in given.items():
        if described[name].json:
            check_json(name, each.value, described[name].description)
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): each.value for name, each in given.items()}
    values: dict[str, Any] = source()
    if CONFIG in given and given[CONFIG].value:
        file = SettingsFile(Path(given[CONFIG].value), CONFIG)
        name = overrides.get("model_name") or values.get("model_name") or file.model_name() or DEFAULT_MODEL
        of_file = file.values(described, PREFIX, NESTED, name)
        values = merged(nested_values(of_file, PREFIX, NESTED), values)
        given = {**of_file, **given}
    values = merged(values, overrides)
    origins = {name: each.origin for name, each in given.items()}
    origins |= dict.fromkeys(_names_of(overrides, PREFIX), "option of the command")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        labels = {name: each.label for name, each in given.items()}
        meanings = {row.name: row.description for row in described.values()}
        problems = dict.fromkeys(explained(problem, meanings, labels, PREFIX, NESTED) for problem in error.errors())
        raise WrongSetting("\n".join(problems)) from None
    log_unknown_kinds(settings.model.weights, KNOWN_KINDS, f"{PREFIX}MODEL{NESTED}WEIGHTS")
    return settings, origins


def _names_of(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Names of the variables that stand for the fields of a nested mapping."""
    for field, value in values.items():
        name = (prefix + field).upper()
        if field == "model" and isinstance(value, Mapping):
            yield from _names_of(value, name + NESTED)
        else:
            yield name


def setting_table() -> list[SettingRow]:
    """Every environment variable, in the order in which the classes define them."""
    return list(rows_of(Settings, PREFIX, NESTED))


def setting_names() -> dict[str, str]:
    """The description of every environment variable."""
    return {row.name: row.description for row in setting_table()}
