"""Doubtful ids: words for no value, whole numbers written as fractions, blanks at the ends, twins that differ by case.

This file decides which ids are doubtful, and the sentence for each kind of them.

>>> suspicious_ids("user", ["ada", "NULL", "Ada", "7.0"], [5, 2, 1, 1], ["NULL"])[0]
"user: 'NULL' (2 events) stands for no id; its events are not learned (CORRENTE_MODEL__NULL_IDS)"
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stream.ingest.files.row_checks import NumberIds

PLACEHOLDERS = frozenset({
    "na", "n/a", "nil", "null", "none", "nan", "-", "?", "0", "-1", "unknown", "anonymous", "guest", "test", "default",
    "undefined", "not set", "(not set)", "missing", "true", "false",
})  # fmt: skip
"""Words, in small letters, that many programs write where they know no id."""
MOST_NAMED = 5


def suspicious_ids(column: str, names: Sequence[str], counts: Sequence[int], null_ids: Collection[str]) -> list[str]:
    """Sentences about doubtful ids of a column.

    Args:
        column: our name.
        names: the different ids.
        counts: number of events of each.
        null_ids: the words that the settings take as no id.
    """
    sentences = []
    for name, count in zip(names, counts, strict=True):
        events = f"{count:,} event{'s' * (count != 1)}"
        if name in null_ids:
            sentences.append(
                f"{column}: {name!r} ({events}) stands for no id; its events are not learned (CORRENTE_MODEL__NULL_IDS)"
            )
        elif name.strip().lower() in PLACEHOLDERS:
            sentences.append(
                f"{column}: {name!r} ({events}) looks like a word for no id; if it is one, add it to "
                "CORRENTE_MODEL__NULL_IDS"
            )
    numbers = NumberIds()
    numbers.add(names)
    sentences += numbers.sentences(column)
    if blank := [name for name in names if name != name.strip()]:
        sentences.append(f"{column}: {_some(blank)} begin or end with blanks, and are other ids than without")
    first: dict[str, str] = {}
    twins = [(first[low], name) for name in names if first.setdefault(low := name.casefold(), name) != name]
    if twins:
        pairs = ", ".join(f"{one!r} and {other!r}" for one, other in twins[:MOST_NAMED])
        sentences.append(f"{column}: {len(twins):,} ids differ from another one by case alone, such as {pairs}")
    return sentences


def _some(ids: Sequence[str]) -> str:
    named = ", ".join(map(repr, ids[:MOST_NAMED]))
    return f"{len(ids):,} ids ({named}{', …' if len(ids) > MOST_NAMED else ''})"
