"""`corrente versions`: list, show, compare, roll back, follow the newest, move aliases, merge shards, begin anew.

Each command reads or moves one thing and prints it; `--json` prints one JSON value instead of a table.

This file decides how versions look in a terminal. Versions and aliases themselves are decided by the other files of
this folder. No command prints the visitor salt, which manifests of release 0.1 carry.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream.settings import Settings
    from stream.versions import Version, VersionStore

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="See, compare, pin and follow versions of the model."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
RedisUrl = Annotated[str | None, typer.Option("--redis", help="Redis, instead of CORRENTE_REDIS.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Model, instead of CORRENTE_MODEL_NAME.")]
Name = Annotated[str, typer.Argument(metavar="VERSION", help="Number, alias, or (the beginning of) an id.")]
Who = Annotated[str | None, typer.Option("--who", help="Name for the history; yours, if left out.")]
Why = Annotated[str, typer.Option("--why", help="Reason for the history.")]


@app.command("list")
def list_versions(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Most rows, newest first.")] = 30,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Versions that are kept, newest first."""
    with _store(redis, model) as store:
        versions, aliases = store.versions(), store.aliases()
        if as_json:
            print(json.dumps([_summary(version, aliases) for version in versions[:limit]]))
            return
        now = time.time()
        table = _table("version", "id", "age", "events", "shards", "HR@10", "drifts", "aliases")
        for version in versions[:limit]:
            table.add_row(
                str(version.number),
                version.id[:8],
                _age(now - version.created_at),
                f"{version.events:,}",
                str(len(version.shards)),
                _hit_rate(version),
                _drifts(version),
                ", ".join(_aliases_of(version, aliases)),
            )
        _print(table)
        if len(versions) > limit:
            _print(f"{len(versions) - limit} older ones: --limit {len(versions)}")


@app.command()
def show(version: Name, *, as_json: AsJson = False, redis: RedisUrl = None, model: ModelName = None) -> None:
    """The whole manifest of one version."""
    from stream.versions import redacted

    with _store(redis, model) as store:
        found = store.version(version)
        if as_json:
            print(json.dumps({"id": found.id, **redacted(found.manifest)}))
            return
        aliases = ", ".join(_aliases_of(found, store.aliases())) or "none"
        learned = f"{found.events} events in {len(found.shards)} shard{'s' * (len(found.shards) != 1)}"
        _print(f"version {found.number} of model {found.model!r}; {learned}; aliases: {aliases}")
        _print_json({"id": found.id, **redacted(found.manifest)})


@app.command()
def rollback(
    version: Name,
    *,
    why: Why = "",
    who: Who = None,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Pin a version: every server answers from it, until another is pinned or you `follow`. Learning goes on."""
    from stream.versions import PINNED

    with _store(redis, model) as store:
        found = store.version(version)
        note = store.move_alias(PINNED, found.number, who=who or _user(), why=why, now=time.time())
        latest = store.latest()
        behind = latest.number - found.number if latest else 0
        _print_result(
            {"pinned": found.number, "id": found.id, "latest": latest.number if latest else None, "note": note},
            f"pinned version {found.number} ({found.id[:8]}), {behind} behind the newest. "
            "`corrente versions follow` goes back to the newest." + _said(note),
            as_json,
        )


@app.command()
def follow(
    *, why: Why = "", who: Who = None, as_json: AsJson = False, redis: RedisUrl = None, model: ModelName = None
) -> None:
    """Take the pin away: servers answer from the newest version again."""
    from stream.versions import PINNED

    with _store(redis, model) as store:
        was, note = store.aliases().get(PINNED), None
        if was is not None:
            note = store.move_alias(PINNED, None, who=who or _user(), why=why, now=time.time())
        latest = store.latest()
        newest = latest.number if latest else None
        _print_result(
            {"pinned": None, "was_pinned": was, "latest": newest, "note": note},
            f"{'no version was pinned' if was is None else f'version {was} is no longer pinned'}; "
            f"following the newest, {newest if newest is not None else 'which is still to come'}" + _said(note),
            as_json,
        )


@app.command()
def alias(
    name: Annotated[str, typer.Argument(help="The alias, for example `canary`.")],
    version: Annotated[str | None, typer.Argument(help="Number, alias or id; left out takes the alias away.")] = None,
    *,
    why: Why = "",
    who: Who = None,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Point an alias to a version. A version that an alias names is never thinned out."""
    with _store(redis, model) as store:
        number = None if version is None else store.version(version).number
        note = store.move_alias(name, number, who=who or _user(), why=why, now=time.time())
        _print_result({name: number}, f"{name} → {number if number is not None else 'nothing'}" + _said(note), as_json)


@app.command()
def diff(
    older: Annotated[str, typer.Argument(help="Number, alias or id.")],
    newer: Annotated[str, typer.Argument(help="Number, alias or id; the newest, if left out.")] = "latest",
    *,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Differences between two versions: events, metrics, drift, settings."""
    with _store(redis, model) as store:
        found = store.diff(older, newer)
    if as_json:
        print(json.dumps(found))
        return
    _print(
        f"from version {found['from']['number']} to {found['to']['number']}: {found['events']:+,} events "
        f"in {_age(abs(found['seconds']))}{'' if found['same_lineage'] else ', in another lineage'}"
    )
    table = _table("name", "from", "to", "change")
    for part in ("metrics", "drift", "settings", "code_version"):
        for difference in found[part]:
            name = difference["name"] if part == "code_version" else f"{part}.{difference['name']}"
            change = f"{difference['change']:+.4g}" if "change" in difference else ""
            table.add_row(name, _cell(difference["from"]), _cell(difference["to"]), change)
    _print(table if table.row_count else "nothing else differs")


@app.command()
def history(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Most rows, newest first.")] = 30,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Moves of aliases: who, when and why."""
    import msgspec

    from stream.versions.manifest import rfc3339

    with _store(redis, model) as store:
        moves = store.history(limit)
    if as_json:
        print(json.dumps(msgspec.to_builtins(moves)))
        return
    table = _table("when", "alias", "from", "to", "who", "why")
    for move in moves:
        table.add_row(rfc3339(move.at)[:19], move.name, _cell(move.came_from), _cell(move.to), move.who, move.why)
    _print(table if moves else "no alias was ever moved")


@app.command("merge-shards")
def merge_shards(
    *,
    to: Annotated[
        int, typer.Option(min=1, help="Number of shards that there shall be; it divides the present one.")
    ] = 1,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Merge the shards of the model into fewer, which go on learning where the old ones stopped."""
    from stream.runtime.release import code_version
    from stream.versions.resharding.merge_shards import merge_shards as merge

    with _store(redis, model) as store:
        done = merge(
            store,
            to,
            visitor_salt=_settings(redis, model).model.visitor_salt,
            worker=f"corrente versions merge-shards ({_user()})",
            code_version=code_version(),
            now=time.time,
        )
        if done is None:
            _print_result(
                {"merged": False, "shards": to},
                f"nothing to do: model {store.model!r} has {to} {'shard' if to == 1 else 'shards'}",
                as_json,
            )
            return
        _print_result(
            {
                "merged": True,
                "shards": to,
                "shards_before": done.shards_before,
                "version": done.after.number,
                "version_before": done.before.number,
                "events": done.after.events,
            },
            f"version {done.after.number} has the {done.after.events:,} events of version {done.before.number} in {to} "
            f"instead of {done.shards_before} shards. Start workers with CORRENTE_SHARDS={to}",
            as_json,
        )


@app.command("new-lineage")
def new_lineage(
    *,
    pin: Annotated[bool, typer.Option(help="Let servers answer from the present version until you `follow`.")] = True,
    why: Why = "a new lineage begins",
    who: Who = None,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Let the model begin anew with the settings of this shell: workers learn what Kafka has from the beginning."""
    from stream.runtime.release import code_version
    from stream.versions.changed_settings.new_lineage import begin_lineage

    with _store(redis, model) as store:
        settings = _settings(redis, model)
        done = begin_lineage(
            store,
            settings.model,
            settings.shards,
            pin=pin,
            who=who or _user(),
            why=why,
            code_version=code_version(),
            now=time.time,
            sleep=time.sleep,
        )
        shown = {
            "version": done.after.number,
            "lineage": done.after.lineage,
            "version_before": done.before.number,
            "events_before": done.before.events,
            "pinned": done.pinned,
        }
        served = (
            f"Servers answer from version {done.pinned} until `corrente versions follow`."
            if done.pinned
            else "Servers answer from the new lineage at once."
        )
        _print_result(
            shown,
            f"version {done.after.number} begins a new lineage of model {store.model!r} with the settings of this "
            f"shell.\n{served}\nStart the workers: they learn what Kafka has from the beginning.",
            as_json,
        )


def _user() -> str:
    """The name of the user, or their number if the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # Python 3.13 raises the second
        return f"uid {os.getuid()}"


def _settings(url: str | None, model: str | None) -> Settings:
    from stream.settings import load_settings

    options = {"redis": url, "model_name": model}
    return load_settings(None, **{name: value for name, value in options.items() if value is not None})


@contextmanager
def _store(url: str | None, model: str | None) -> Iterator[VersionStore]:
    """The store that the settings name; an error of it ends the command with one line and exit code 1."""
    from redis.exceptions import RedisError

    from stream.versions import VersionError, VersionStore

    settings = _settings(url, model)
    address = settings.redis_address
    store = VersionStore.connect(address, settings.model_name)
    try:
        yield store
    except VersionError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    except RedisError as error:
        print(f"Redis at {address}: {str(error).rstrip('.')}. Set CORRENTE_REDIS or --redis", file=sys.stderr)
        raise typer.Exit(1) from None
    finally:
        store.close()


def _summary(version: Version, aliases: dict[str, int]) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "number": version.number,
        "id": version.id,
        "parent": version.parent,
        "lineage": version.lineage,
        "created_at": manifest["created_at"],
        "events": version.events,
        "aliases": _aliases_of(version, aliases),
        "metrics": version.metrics,
    }


def _aliases_of(version: Version, aliases: dict[str, int]) -> list[str]:
    return [name for name, number in aliases.items() if number == version.number]


def _hit_rate(version: Version) -> str:
    """HR@10 of the blend, averaged over the shards that have one."""
    rates = []
    for metrics in version.metrics.values():
        rate = metrics
        for key in ("blend", "hr", "10"):
            rate = rate.get(key) if isinstance(rate, dict) else None
        if isinstance(rate, int | float):
            rates.append(rate)
    return f"{sum(rates) / len(rates):.3f}" if rates else ""


def _drifts(version: Version) -> str:
    """Number of drifts that the detectors of all shards have signalled."""
    counts = [
        signal["drifts"]
        for signals in version.drift.values()
        for signal in (signals.values() if isinstance(signals, dict) else [])
        if isinstance(signal, dict) and isinstance(signal.get("drifts"), int)
    ]
    return str(sum(counts)) if counts else ""


def _age(seconds: float) -> str:
    """A duration for people, in the largest unit of which it has two or more."""
    for unit, width in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * width:
            return f"{seconds / width:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in {"version", "id", "age", "when"})
    return table


def _print(text_or_table: Any) -> None:
    from rich.console import Console

    Console(highlight=False, markup=False).print(text_or_table)


def _print_json(value: Any) -> None:
    from rich.console import Console

    Console().print_json(data=value)


def _said(note: str | None) -> str:
    """A note behind a sentence."""
    return f"\n{note}" if note else ""


def _print_result(value: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(value))
    else:
        _print(sentence)
