"""`corrente audit`: the trail of administrative acts and readings of personal data, for people and for archives.

This file decides how acts look in a terminal and in an export. What is kept of them: `stream.access.audit`.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from stream.access.acts import hidden_visitor
from stream.access.audit import AuditRecord
from stream.access.command_line import AsJson, ModelName, RedisUrl, model_space, show, table_of

app = typer.Typer(no_args_is_help=True, add_completion=False, help="See who did what, when, why and from where.")


@app.command("list")
def list_acts(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows, newest first.")] = 30,
    visitor: Annotated[
        str | None,
        typer.Option(
            "--visitor",
            help="Only readings of what is known of this user or session, found by CORRENTE_MODEL__VISITOR_SALT.",
        ),
    ] = None,
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Newest acts: changes of keys, pins, rollbacks and other moves of aliases, and readings of personal data."""
    from stream.access.audit import AuditTrail
    from stream.settings import load_settings

    hidden = None if visitor is None else hidden_visitor(visitor, load_settings().model.visitor_salt)
    with model_space(redis, model) as space:
        trail = AuditTrail(space)
        records = trail.newest(limit) if hidden is None else trail.newest_readings(hidden, limit)
    if as_json:
        print(json.dumps([_row(record) for record in records]))
        return
    if not records:
        show("no act was recorded yet")
        return
    table = table_of("when", "who", "what", "target", "why", "from")
    for record in records:
        act = record.act
        who = f"{act.who} as {act.called}" if act.called else act.who
        table.add_row(_moment(record.at), who, act.what, act.target, act.why, act.origin)
    show(table)


@app.command()
def export(
    *,
    since: Annotated[
        str | None, typer.Option("--since", help="Day or moment, 2026-01-31 or 2026-01-31T12:00:00Z; else all.")
    ] = None,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Print every act as a line of JSON, oldest first, for an archive outside Redis."""
    from stream.access.audit import AuditTrail

    start = _seconds(since) if since else 0.0
    with model_space(redis, model) as space:
        for record in AuditTrail(space).since(start):
            print(json.dumps(_row(record)))


def _row(record: AuditRecord) -> dict[str, Any]:
    act = record.act
    return {
        "id": record.id,
        "at": _moment(record.at),
        "who": act.who,
        "called": act.called,
        "what": act.what,
        "target": act.target,
        "why": act.why,
        "from": act.origin,
    }


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(moment: str) -> float:
    """Seconds since the epoch of a day or moment in ISO 8601; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise typer.BadParameter(
            f"--since {moment!r} is no day and no moment: 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
