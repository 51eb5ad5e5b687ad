"""Every setting, typed, from the environment: `CORRENTE_<NAME>`, and `CORRENTE_MODEL__<NAME>` for the model's.

The table in the README is made from this file. A variable that starts with `CORRENTE_` and names no setting, and a value
that doesn't fit, stop the program at its start with the name, the value and what would be right: a misspelt setting that
is silently ignored is worse than none.

`ModelSettings` are part of every version: two shards with the same model settings, given the same records, hold the same
tables. The other settings never change what is learned.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "CORRENTE_"


class WrongSetting(ValueError):
    """A setting that is unknown or has an impossible value; the text says what would be right."""


class ModelSettings(BaseModel):
    """What the model is. Written into every version; changing a capacity starts a new model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: Annotated[int, Field(ge=64, le=16_000_000)] = Field(
        200_000, description="Most items a shard remembers; beyond that the weakest make room."
    )
    visitors: Annotated[int, Field(ge=64, le=100_000_000)] = Field(
        1_000_000, description="Most visitors a shard remembers; beyond that the least recently active make room."
    )
    sessions: Annotated[int, Field(ge=64, le=100_000_000)] = Field(
        1_000_000, description="Most sessions a shard remembers as neighbours; beyond that the oldest make room."
    )
    event_ids: Annotated[int, Field(ge=64, le=1_000_000_000)] = Field(
        1_000_000, description="How many event ids back a repeated event is recognised."
    )
    repeats: Literal["all", "first"] = Field(
        "all",
        description="`all`: every event is learned and known items may be recommended again. `first`: only a visitor's "
        "first event on an item is learned, and items they had are never recommended.",
    )
    weights: dict[str, float] = Field(
        default_factory=lambda: {
            "click": 1.0,
            "view": 1.0,
            "purchase": 3.0,
            "cart": 2.0,
            "like": 2.0,
            "dislike": -2.0,
            "return": -3.0,
        },
        description="What an event of each kind weighs; negative takes weight back. Kinds not listed weigh 1, and a "
        "`rating` weighs by its value.",
    )
    seed: int = Field(0, description="Seed of everything random in the model.")
    visitor_salt: str = Field("corrente", description="Salt of the hash under which visitors are kept. Set your own.")


class Settings(BaseSettings):
    """Where things are and how the edges behave."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    # ---- Kafka
    kafka: str = Field("localhost:9092", description="Bootstrap servers, `host:port`, separated by commas.")
    group: str = Field("corrente", description="Kafka consumer group of the workers.")
    clicks_topic: str = Field("clicks", description="Topic with clicks.")
    purchases_topic: str = Field("purchases", description="Topic with purchases.")
    feedback_topic: str = Field("feedback", description="Topic with feedback.")
    dead_letters_topic: str = Field("dead-letters", description="Topic for what could not be learned.")
    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Partitions of topics that Corrente creates itself."
    )
    create_topics: bool = Field(True, description="Create missing topics at start.")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='Our field name to your producers\', as JSON: `{"item": "product_id", "user": "customer"}`.',
    )
    session_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="A worker that Kafka has not heard of for so long loses its partitions."
    )
    ahead_seconds: Annotated[float, Field(ge=0)] = Field(
        300.0, description="How far an event's own time may be ahead of the record's (Kafka) or the clock (HTTP)."
    )

    # ---- versions
    redis: str = Field("redis://localhost:6379/0", description="Where versions are kept.")
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        "default", description="Name of the model; several can share a Redis."
    )
    publish_seconds: Annotated[float, Field(gt=0)] = Field(
        0.25, description="How often a worker publishes a version while events flow."
    )
    keep_last: Annotated[int, Field(ge=2)] = Field(64, description="Newest versions that are all kept.")
    keep_minutes: Annotated[int, Field(ge=0)] = Field(60, description="How many minutes back one version a minute is kept.")
    keep_hours: Annotated[int, Field(ge=0)] = Field(48, description="How many hours back one version an hour is kept.")
    keep_days: Annotated[int, Field(ge=0)] = Field(30, description="How many days back one version a day is kept.")

    # ---- learning
    sample_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15, description="Share of learning's CPU time that testing and the ranker may take."
    )
    sample_floor: Annotated[float, Field(ge=0)] = Field(
        20.0, description="Events a second that are tested at least."
    )

    # ---- serving
    host: str = Field("127.0.0.1", description="Address that the HTTP server binds.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port of the HTTP server; 0 picks a free one.")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port of the worker's metrics; 0 turns them off."
    )
    log_format: Literal["console", "json"] = Field("console", description="How logs are written.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    model: ModelSettings = Field(default_factory=ModelSettings, description="The model's own settings.")

    @field_validator("kafka")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        for server in value.split(","):
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError(f"{server!r} is not host:port")
        return value

    @property
    def topics(self) -> dict[str, str]:
        """Our name of each event topic to its name in Kafka, in the order of the merge."""
        return {"clicks": self.clicks_topic, "purchases": self.purchases_topic, "feedback": self.feedback_topic}


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` (command-line options) winning.

    Raises:
        WrongSetting: a `CORRENTE_` variable names no setting, or a value doesn't fit.
    """
    names = os.environ if environment is None else environment
    known = setting_names()
    for name in names:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
            raise WrongSetting(f"{name}={names[name]!r}: there is no such setting. {hint}")
    try:
        if environment is None:
            return Settings(**overrides)
        return _from_mapping(environment, overrides)
    except ValidationError as error:
        raise WrongSetting("\n".join(_explain(problem) for problem in error.errors())) from None


def setting_names() -> dict[str, str]:
    """Every environment variable to its description."""
    names = {}
    for field, info in Settings.model_fields.items():
        if field == "model":
            for inner, inner_info in ModelSettings.model_fields.items():
                names[f"{PREFIX}MODEL__{inner}".upper()] = inner_info.description or ""
        else:
            names[f"{PREFIX}{field}".upper()] = info.description or ""
    return names


def _from_mapping(environment: Mapping[str, str], overrides: dict[str, Any]) -> Settings:
    saved = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        return Settings(**overrides)
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _explain(problem: Any) -> str:
    name = PREFIX + "__".join(str(part) for part in problem["loc"]).upper()
    return f"{name}={problem['input']!r}: {problem['msg']}"
