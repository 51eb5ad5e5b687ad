"""The verdict of a search: tuned settings beside the default, and the file that is written.

This file decides when tuned settings are recommended: only if they are better than the default by more than noise on
the following part of the history, on which nothing was tuned. Otherwise the written file keeps the default and says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stream.evaluation.measures.result import difference_report
from stream.evaluation.measures.significance import Difference
from stream.evaluation.protocol import WrongInput
from stream.evaluation.report.tables import difference_text

PREFIX = "CORRENTE_MODEL__"


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        chosen: settings of the winner that differ from the default, by name.
        trials, pruned: number of settings that were tried, and how many of them were given up early.
        leading: HR@k of the default and of the winner on the leading part.
        following: HR@k of the default and of the winner on the following part.
        difference: winner minus default on the following part, paired.
        cutoff: the k.
    """

    chosen: dict[str, Any]
    trials: int
    pruned: int
    leading: tuple[float, float]
    following: tuple[float, float]
    difference: Difference
    cutoff: int

    @property
    def better(self) -> bool:
        """True if the winner beats the default, by more than noise, on events on which neither was tuned."""
        return self.difference.difference > 0 and not self.difference.is_noise

    def settings_file(self) -> str:
        """Text of a settings file: the winner's settings, or none if the default stays; the verdict as comments."""
        file_lines = [f"# {line}" for line in self.text().splitlines()]
        if self.better:
            for name, value in self.chosen.items():
                text = json.dumps(value) if isinstance(value, dict) else str(value)
                file_lines.append(f"{PREFIX}{name.upper()}={text}")
        return "\n".join(file_lines) + "\n"

    def text(self) -> str:
        """Several lines for people: trials, figures on both parts, and the verdict."""
        verdict = (
            "these settings are better"
            if self.better
            else "the default stays: on the following part these settings gain nothing"
        )
        k = self.cutoff
        return (
            f"{self.trials} trials ({self.pruned} given up early)\n"
            f"leading part, tuned on: HR@{k} {self.leading[0]:.4f} by default, {self.leading[1]:.4f} at best\n"
            f"following part, judged on: HR@{k} {self.following[0]:.4f} by default, {self.following[1]:.4f}\n"
            f"{difference_text(self.difference, f'HR@{k}')}\n"
            f"{verdict}: {', '.join(f'{name}={value}' for name, value in self.chosen.items()) or 'the default itself'}"
        )

    def report(self) -> dict[str, Any]:
        """The JSON contract of `corrente tune --json`."""
        return {
            "chosen": self.chosen,
            "better": self.better,
            "trials": self.trials,
            "pruned": self.pruned,
            "leading": {"default": self.leading[0], "chosen": self.leading[1]},
            "following": {"default": self.following[0], "chosen": self.following[1]},
            "difference": difference_report(self.difference),
        }


def read_settings_file(text: str) -> dict[str, str]:
    """Parse lines of `NAME=value`; empty lines and lines that start with # are skipped.

    >>> read_settings_file("CORRENTE_MODEL__SEED=3")
    {'CORRENTE_MODEL__SEED': '3'}

    Raises:
        WrongInput: a line is something else; the message has its number.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise WrongInput(f"line {number} of the settings is {line[:80]!r}, not NAME=value")
            settings[name.strip()] = value.strip()
    return settings
