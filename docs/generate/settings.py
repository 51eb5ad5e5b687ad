"""Tables of settings, grouped, with units and limits.

This file decides the groups of settings, and how a setting's unit and limits are written.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.markdown import code, table
from stream.settings import NESTED, PREFIX, RENAMED, Settings, setting_table

GROUPS: Mapping[str, tuple[str, ...]] = {
    "settings-kafka": (
        "KAFKA",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SSL_CA_LOCATION",
        "KAFKA_SSL_CERTIFICATE_LOCATION",
        "KAFKA_SSL_KEY_LOCATION",
        "KAFKA_SSL_KEY_PASSWORD",
        "KAFKA_SSL_CHECK_HOSTNAME",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_SASL_OAUTH_TOKEN_URL",
        "KAFKA_SASL_OAUTH_CLIENT_ID",
        "KAFKA_SASL_OAUTH_CLIENT_SECRET",
        "KAFKA_SASL_OAUTH_SCOPE",
        "KAFKA_SASL_OAUTH_PROVIDER",
        "GROUP",
        "CLICKS_TOPIC",
        "PURCHASES_TOPIC",
        "FEEDBACK_TOPIC",
        "DEAD_LETTERS_TOPIC",
        "ITEMS_TOPIC",
        "USERS_TOPIC",
        "PARTITIONS",
        "CREATE_TOPICS",
        "SHARDS",
        "ALLOW_UNEVEN_SHARDS",
        "FIELDS",
        "MAPPING",
        "SESSION_TIMEOUT_SECONDS",
        "MAX_FUTURE_SECONDS",
        "OTHER_TOPICS",
        "MOVED_TO_CLUSTER",
    ),
    "settings-registry": (
        "SCHEMA_REGISTRY",
        "SCHEMA_REGISTRY_USERNAME",
        "SCHEMA_REGISTRY_PASSWORD",
        "SCHEMA_REGISTRY_CA_FILE",
        "SCHEMA_REGISTRY_CERTIFICATE_FILE",
        "SCHEMA_REGISTRY_KEY_FILE",
        "SCHEMA_REGISTRY_TIMEOUT_SECONDS",
        "SCHEMA_REGISTRY_MAX_SCHEMAS",
        "SCHEMA_FORMATS",
        "AVRO_SCHEMAS",
    ),
    "settings-versions": (
        "REDIS",
        "REDIS_USERNAME",
        "REDIS_PASSWORD",
        "REDIS_SENTINEL_USERNAME",
        "REDIS_SENTINEL_PASSWORD",
        "REDIS_CA_FILE",
        "REDIS_CERTIFICATE_FILE",
        "REDIS_KEY_FILE",
        "ALLOW_EVICTION",
        "MODEL_NAME",
        "PUBLISH_SECONDS",
        "KEEP_LAST",
        "KEEP_MINUTES",
        "KEEP_HOURS",
        "KEEP_DAYS",
    ),
    "settings-learning": ("TEST_CPU_SHARE", "SAMPLE_FLOOR"),
    "settings-serving": (
        "HOST",
        "PORT",
        "SERVER_PROCESSES",
        "MAX_BODY_BYTES",
        "MAX_BODY_EVENTS",
        "MAX_BATCH_LISTS",
        "MAX_HEAD_BYTES",
        "HEAD_SECONDS",
        "BODY_SECONDS",
        "KEEP_ALIVE_SECONDS",
        "ROOT_PATH",
        "TRUSTED_PROXIES",
        "ACKNOWLEDGE_SECONDS",
        "POLL_SECONDS",
        "RESIDENT_VERSIONS",
    ),
    "settings-access": ("REQUIRE_KEYS", "FIRST_KEY", "KEYS_STALE_SECONDS", "METRICS_TOKEN", "DOCS", "API_KEY"),
    "settings-limits": (
        "ADDRESS_REQUESTS_PER_SECOND",
        "KEY_GUESSES_PER_MINUTE",
        "MAX_CONNECTIONS",
        "MAX_CONCURRENT_REQUESTS",
        "MAX_WAITING_REQUESTS",
        "CORS_ORIGINS",
    ),
    "settings-files": ("CONFIG",),
    "settings-operations": ("METRICS_HOST", "METRICS_PORT", "LOG_FORMAT", "LOG_LEVEL"),
    "settings-model": ("MODEL__",),
}
"""Names of settings by the part that lists them, or the beginning of their names."""

UNITS: Mapping[str, str] = {
    "_SECONDS": "seconds",
    "_BYTES": "bytes",
    "_EVENTS": "events",
    "_MINUTES": "minutes",
    "_HOURS": "hours",
    "_DAYS": "days",
    "_PER_SECOND": "requests a second",
    "_PER_MINUTE": "requests a minute",
    "SAMPLE_FLOOR": "events a second",
    "KEEP_LAST": "versions",
    "MAX_SCHEMAS": "schemas",
    "_SHARE": "share of CPU time",
}
"""Unit of a setting by the end of its name."""


def group_of(name: str) -> str:
    """The part that lists a variable.

    Raises:
        LookupError: none or several do.
    """
    bare = name.removeprefix(PREFIX)
    fitting = [
        group
        for group, names in GROUPS.items()
        if bare in names or any(each.endswith(NESTED) and bare.startswith(each) for each in names)
    ]
    if len(fitting) != 1:
        raise LookupError(
            f"{name} is in {fitting or 'no group'}: name it in exactly one of GROUPS in docs/generate/settings.py"
        )
    return fitting[0]


def section(group: str) -> str:
    fields = dict(_fields(Settings, PREFIX))
    rows = [
        [code(row.name), code(row.default), _allowed(row.name, fields[row.name]), row.description]
        for row in setting_table()
        if group_of(row.name) == group
    ]
    return table(["variable", "default", "unit and limits", "what it is"], rows)


def renamed() -> str:
    return table(["old name", "present name"], [[code(old), code(new)] for old, new in RENAMED.items()])


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for field, info in model.model_fields.items():
        name = (prefix + field).upper()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, name + NESTED)
        else:
            yield name, info


def _allowed(name: str, info: FieldInfo) -> str:
    """Unit, limits and allowed words of a setting, as far as it has any."""
    parts = [unit for ending, unit in UNITS.items() if name.endswith(ending)]
    kind: Any = info.annotation
    if typing.get_origin(kind) is typing.Literal:
        parts.append(" or ".join(code(str(each)) for each in typing.get_args(kind)))
    elif kind is bool:
        parts.append("`true` or `false`")
    elif typing.get_origin(kind) in {dict, tuple, list}:
        parts.append("JSON")
    least = greatest = ""
    for limit in info.metadata:
        match limit:
            case annotated_types.Ge(ge=bound):
                least = f"at least {bound:,}"
            case annotated_types.Gt(gt=bound):
                least = f"more than {bound:,}"
            case annotated_types.Le(le=bound):
                greatest = f"at most {bound:,}"
            case annotated_types.Lt(lt=bound):
                greatest = f"less than {bound:,}"
    parts += [each for each in (least, greatest) if each]
    parts += [
        f"pattern `{limit.pattern}`" for limit in info.metadata if isinstance(getattr(limit, "pattern", None), str)
    ]
    return ", ".join(parts)


SECTIONS = {
    **{group: (lambda group=group: section(group)) for group in GROUPS},
    "settings-renamed": renamed,
}
