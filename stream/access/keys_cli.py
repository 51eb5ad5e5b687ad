"""`corrente keys`: make, list, rotate and revoke keys of the HTTP API.

The text of a key is all that `create` and `rotate` print on standard output, so that it can go into a file; what is
said about it goes to standard error. It is shown once: Redis has its SHA-256 only. A public key has a second line, the
secret that signs the tokens of its visitors, which servers need and `list` never shows.

This file decides how keys look in a terminal. What is done to them is decided in `stream.access.lifecycle`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.access.command_line import AsJson, ModelName, RedisUrl, Why, model_space, show, table_of, this_user
from stream.access.scopes import PUBLIC_SCOPES

if TYPE_CHECKING:
    from stream.access.keys import KeyRecord

DAY_SECONDS = 86_400.0

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make, list, rotate and revoke keys of the HTTP API."
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, or its beginning; `corrente keys list` has it.")]
ExpiresDays = Annotated[
    float | None, typer.Option("--expires-days", min=0.001, help="Days until it ends by itself; never, if left out.")
]


@app.command()
def create(
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it opens, such as events:write; may be repeated. `all` is all."),
    ] = None,
    owner: Annotated[str, typer.Option("--owner", help="Person or program that will have it.")],
    public: Annotated[
        bool, typer.Option("--public", help="For web pages: it acts for the visitor of a token that the shop signs.")
    ] = False,
    note: Annotated[str, typer.Option("--note", help="Purpose.")] = "",
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", help="Origin of web pages that may use it, https://shop.example; may be repeated."),
    ] = None,
    expires_days: ExpiresDays = None,
    events_a_day: Annotated[
        int | None,
        typer.Option("--events-a-day", help="Events that it may post on a day (UTC); any number, if left out."),
    ] = None,
    lists_a_second: Annotated[
        int | None, typer.Option("--lists-a-second", help="Lists a second that it may read; any number, if left out.")
    ] = None,
    why: Why = "",
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Make a key and print it, this once. Servers take it within a second."""
    from stream.access.key_store import KeyStore
    from stream.access.lifecycle import create_key, create_public_key

    if public and scope:
        raise typer.BadParameter("a public key has scopes of its own: leave --scope out")
    with model_space(redis, model) as space:
        now = time.time()
        store, caller = KeyStore(space), this_user()
        end, origins = _end(now, expires_days), origin or ()
        if public:
            made = create_public_key(
                store,
                origins=origins,
                owner=owner,
                now=now,
                caller=caller,
                note=note,
                expires_at=end,
                events_a_day=events_a_day,
                lists_a_second=lists_a_second,
                why=why,
            )
        else:
            made = create_key(
                store,
                scopes=scope or (),
                owner=owner,
                now=now,
                caller=caller,
                note=note,
                origins=origins,
                expires_at=end,
                events_a_day=events_a_day,
                lists_a_second=lists_a_second,
                why=why,
            )
    _print_made(made.text, made.record, as_json)


@app.command("list")
def list_keys(*, as_json: AsJson = False, redis: RedisUrl = None, model: ModelName = None) -> None:
    """Every key that was made: owner, scopes, state and last use. No key's text is kept, so none is shown."""
    from stream.access.key_store import KeyStore

    with model_space(redis, model) as space:
        store = KeyStore(space)
        records, uses = store.records(), store.last_uses()
    now = time.time()
    rows = [_row(record, uses.get(record.id), now) for record in records]
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        show("no key was made yet, so servers answer on loopback only: corrente keys create --scope all --owner NAME")
        return
    table = table_of(
        "id", "owner", "state", "scopes", "made", "ends", "last used", "events a day", "lists a second", "note"
    )
    for row in rows:
        table.add_row(
            row["id"],
            row["owner"],
            row["state"],
            " ".join(row["scopes"]),
            *(_moment(row[name]) for name in ("created_at", "expires_at", "last_used_at")),
            *("-" if row[name] is None else f"{row[name]:,}" for name in ("events_a_day", "lists_a_second")),
            row["note"],
        )
    show(table)


@app.command()
def rotate(
    key: Id,
    *,
    overlap_hours: Annotated[
        float, typer.Option("--overlap-hours", min=0, help="Hours for which the old key is valid beside the new one.")
    ] = 24.0,
    expires_days: ExpiresDays = None,
    why: Why = "",
    as_json: AsJson = False,
    redis: RedisUrl = None,
    model: ModelName = None,
) -> None:
    """Make a key in the place of another one and print it, this once. Both are valid for a while."""
    from stream.access.key_store import KeyStore
    from stream.access.lifecycle import rotate_key

    with model_space(redis, model) as space:
        now = time.time()
        made, old = rotate_key(
            KeyStore(space),
            key,
            overlap_seconds=overlap_hours * 3600.0,
            now=now,
            caller=this_user(),
            expires_at=_end(now, expires_days),
            why=why,
        )
    _print_made(made.text, made.record, as_json)
    if not as_json:
        print(f"key {old.id} ends at {_moment(old.expires_at)}", file=sys.stderr)


@app.command()
def revoke(key: Id, *, why: Why = "", as_json: AsJson = False, redis: RedisUrl = None, model: ModelName = None) -> None:
    """Make a key void for good. Servers refuse it within a second, or as soon as they reach Redis again."""
    from stream.access.key_store import KeyStore
    from stream.access.lifecycle import revoke_key

    with model_space(redis, model) as space:
        record = revoke_key(KeyStore(space), key, now=time.time(), caller=this_user(), why=why)
    if as_json:
        print(json.dumps(_row(record, None, time.time())))
    else:
        show(f"key {record.id} of {record.owner} is revoked since {_moment(record.revoked_at)}")


def _end(now: float, days: float | None) -> float | None:
    return None if days is None else now + days * DAY_SECONDS


def _print_made(text: str, record: KeyRecord, as_json: bool) -> None:
    if as_json:
        secret = {"signing_secret": record.signing_secret} if record.public else {}
        print(json.dumps({"key": text, **secret, **_row(record, None, time.time())}))
        return
    print(text)
    if record.public:
        print(record.signing_secret)
        print(
            f"public key {record.id} of {record.owner} acts for visitors of model {record.model!r}, from pages of "
            f"{', '.join(record.origins)}.\nThe first line is the key, for the pages. The second is the signing "
            "secret, for the shop's server alone. Both are shown this once.",
            file=sys.stderr,
        )
        return
    print(
        f"key {record.id} of {record.owner} opens model {record.model!r}: {', '.join(record.scopes)}.\n"
        "It is shown this once. Its owner sends it as `Authorization: Bearer corrente_…`.",
        file=sys.stderr,
    )


def _row(record: KeyRecord, used: float | None, now: float) -> dict[str, Any]:
    """All that is said of a key; its digest isn't."""
    return {
        "id": record.id,
        "owner": record.owner,
        "state": record.state(now),
        "scopes": list(PUBLIC_SCOPES) if record.public else record.scopes,
        "public": record.public,
        "origins": record.origins,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
        "last_used_at": used,
        "replaces": record.replaces,
        "events_a_day": record.events_a_day,
        "lists_a_second": record.lists_a_second,
        "note": record.note,
    }


def _moment(seconds: float | None) -> str:
    """A moment in UTC, to the second; a hyphen for none."""
    return "-" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
