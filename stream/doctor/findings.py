"""Findings of `corrente doctor`: one line each, with a severity and what mends it.

This file decides how severe a finding can be, how findings look as text and as JSON, and the exit code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class Severity(IntEnum):
    """Importance of a finding, least first."""

    OK = 0
    NOTE = 1
    """Worth knowing; nothing has to be done."""
    WARNING = 2
    """It works, and something will be lost or late one day."""
    ERROR = 3
    """It doesn't work."""


class Finding(NamedTuple):
    """Result of one check.

    Attributes:
        check: what was checked, as `kafka.topics`.
        severity: how much it matters.
        found: what was found, in one line.
        mend: what to do; empty if there is nothing to do.
    """

    check: str
    severity: Severity
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, Severity.OK, found)


def note(check: str, found: str, mend: str = "") -> Finding:
    return Finding(check, Severity.NOTE, found, mend)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check, Severity.WARNING, found, mend)


def error(check: str, found: str, mend: str) -> Finding:
    return Finding(check, Severity.ERROR, found, mend)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 if nothing is wrong, 1 if there are warnings, 2 if there are errors.

    >>> exit_code([ok("disk", "20 GB are free"), note("server", "none answers")])
    0
    >>> exit_code([error("redis.reachable", "no answer", "start it"), warning("salt", "weak", "set one")])
    2
    """
    worst = max((finding.severity for finding in findings), default=Severity.OK)
    return max(0, worst - Severity.NOTE)


def as_text(findings: Sequence[Finding]) -> str:
    """One line for each finding, a second one for what mends it, and a summary.

    >>> print(as_text([ok("disk", "20 GB are free"), error("redis.reachable", "no answer", "start it")]))
    ok       disk: 20 GB are free
    ERROR    redis.reachable: no answer
             → start it
    1 error, 0 warnings in 2 findings
    """
    lines = []
    for finding in findings:
        name = finding.severity.name
        label = name if finding.severity >= Severity.WARNING else name.lower()
        lines.append(f"{label:<8} {finding.check}: {finding.found}")
        if finding.mend:
            lines.append(f"{'':<8} → {finding.mend}")
    errors, warnings = (
        sum(each.severity is severity for each in findings) for severity in (Severity.ERROR, Severity.WARNING)
    )
    lines.append(
        f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')} in {_counted(len(findings), 'finding')}"
    )
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON object: `exit_code`, and `findings` with their severity in lower case."""
    return json.dumps(
        {
            "exit_code": exit_code(findings),
            "findings": [
                {"check": each.check, "severity": each.severity.name.lower(), "found": each.found, "mend": each.mend}
                for each in findings
            ],
        }
    )
