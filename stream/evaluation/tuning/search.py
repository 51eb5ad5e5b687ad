"""Search for better settings without being fooled by the search.

The history is cut in two. Settings are tried on the leading part only, and a trial whose curve stays below the others'
is given up early (Optuna's median pruner on the hit rate so far). The winner then runs over the whole history beside
the default, and is judged by the tests of the *following* part, which no trial has seen. If it isn't better there by
more than noise, the file that is written holds the default, and says so.

What can be tuned is read off `ModelSettings`: every number between two bounds, except capacities, and the weights of
the kinds that occur. A new setting with bounds is tuned without a line here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stream.evaluation.measures import metrics
from stream.evaluation.measures.result import BLEND, Evaluation, difference_report
from stream.evaluation.measures.significance import Difference, compare_tests
from stream.evaluation.protocol import Protocol, WrongInput, is_frozen_split
from stream.evaluation.replay.history import History, taken
from stream.evaluation.replay.run import Walk, evaluate
from stream.evaluation.report.tables import difference_text
from stream.models.settings import ModelSettings

if TYPE_CHECKING:
    import optuna

CAPACITIES = frozenset({"items", "visitors", "sessions", "event_ids", "drift_burn_in", "seed"})
"""Numbers between bounds that are no matter of taste: they are set by what there is to remember or to watch."""
HEAVIEST = 6.0
PREFIX = "CORRENTE_MODEL__"


@dataclass(frozen=True)
class Knob:
    """One setting that can be turned: a number from `low` to `high`; `kind` names a key of `weights`."""

    name: str
    low: float
    high: float
    whole: bool = False
    kind: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}.{self.kind}" if self.kind else self.name


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        chosen: settings that differ from the default, by name.
        trials, pruned: how many settings were tried, and how many of them given up early.
        leading: HR@k of the default and of the winner on the leading part.
        following: the same on the following part.
        difference: winner - default on the following part, paired.
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
        """Whether the winner is better than the default where neither was tuned."""
        return self.difference.difference > 0 and not self.difference.is_noise

    def settings_file(self) -> str:
        """The environment that makes these settings; the default's is empty."""
        lines = [f"# {line}" for line in self.text().splitlines()]
        if self.better:
            for name, value in self.chosen.items():
                text = json.dumps(value) if isinstance(value, dict) else str(value)
                lines.append(f"{PREFIX}{name.upper()}={text}")
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """What was found, for people."""
        verdict = (
            "these settings win" if self.better else "the default stays: where it was not tuned, this wins nothing"
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
        """The same as JSON."""
        return {
            "chosen": self.chosen,
            "better": self.better,
            "trials": self.trials,
            "pruned": self.pruned,
            "leading": {"default": self.leading[0], "chosen": self.leading[1]},
            "following": {"default": self.following[0], "chosen": self.following[1]},
            "difference": difference_report(self.difference),
        }


def tune(
    history: History,
    protocol: Protocol,
    *,
    base: ModelSettings | None = None,
    trials: int = 30,
    share: float = 0.6,
    finished: Callable[[int], None] | None = None,
    run: Callable[..., Evaluation] = evaluate,
) -> Tuned:
    """Search on the leading `share` of the history, judge on the rest.

    Args:
        history: what happened; of a frozen split only the `train` rows are looked at.
        protocol: how both parts are tested; its warm-up is a share of the leading part.
        base: the settings to beat and to start from.
        trials: how many settings are tried.
        share: how much of the history is the leading part.
        finished: called with the number of trials done.
        run: what evaluates a history under a protocol with settings.

    Raises:
        WrongInput: Optuna is missing, nothing can be tuned, or a part is too short to be tested.
    """
    try:
        import optuna
    except ImportError as error:
        raise WrongInput("corrente tune needs Optuna: pip install 'corrente[tune]'") from error
    if not 0.1 <= share <= 0.9:
        raise WrongInput(f"--share {share!r}: from 0.1 to 0.9 of the history")
    default = base or ModelSettings()
    whole = _without_tests(history)
    leading = _leading(whole, share)
    knobs = knobs_of(ModelSettings, kinds_of(leading))
    if not knobs:
        raise WrongInput("no setting of the model has bounds, and with one kind of events there are no weights to tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=protocol.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
    )
    study.enqueue_trial({knob.label: _value_of(default, knob) for knob in knobs})

    def objective(trial: optuna.Trial) -> float:
        settings = turned(default, knobs, {knob.label: _suggested(trial, knob) for knob in knobs})
        watch = _Watch(trial, protocol.cutoffs[0])
        return _hr(run(leading, protocol, settings, progress=watch))

    def done(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        if finished:
            finished(len(study.trials))

    study.optimize(objective, n_trials=trials, callbacks=[done])
    winner = turned(default, knobs, study.best_params)
    judged = replace(protocol, warmup=share)
    ours, theirs = (run(whole, judged, settings) for settings in (winner, default))
    return Tuned(
        chosen=_differing(winner, default),
        trials=len(study.trials),
        pruned=sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials),
        leading=(study.trials[0].value or 0.0, study.best_value),
        following=(_hr(theirs), _hr(ours)),
        difference=compare_tests(
            ours.measured(BLEND), theirs.measured(BLEND), ours.visitor[ours.tests.event], seed=protocol.seed
        ),
        cutoff=protocol.cutoffs[0],
    )


def knobs_of(settings: type[ModelSettings], kinds: Sequence[str]) -> list[Knob]:
    """Everything that can be turned: numbers between two bounds, and weights if more than one kind occurs."""
    knobs = []
    for name, field in settings.model_fields.items():
        low = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
        high = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
        if name not in CAPACITIES and field.annotation in (int, float) and low is not None and high is not None:
            knobs.append(Knob(name, float(low), float(high), whole=field.annotation is int))
    if len(kinds) > 1:
        knobs += [Knob("weights", -HEAVIEST, HEAVIEST, kind=kind) for kind in sorted(kinds)]
    return knobs


def turned(base: ModelSettings, knobs: Sequence[Knob], values: Mapping[str, float]) -> ModelSettings:
    """Settings with these knobs turned to these values (by label)."""
    changes: dict[str, Any] = {}
    for knob in knobs:
        value = values[knob.label]
        if knob.kind:
            changes.setdefault("weights", dict(base.weights))[knob.kind] = round(float(value), 3)
        else:
            changes[knob.name] = int(value) if knob.whole else float(value)
    return ModelSettings.model_validate({**base.model_dump(), **changes})


def kinds_of(history: History) -> list[str]:
    """Kinds of events that occur."""
    return [history.data.event.names[code] for code in np.unique(history.data.event.codes)]


def read_settings_file(text: str) -> dict[str, str]:
    """`NAME=value` lines; empty ones and those that start with # say nothing.

    >>> read_settings_file("CORRENTE_MODEL__SEED=3")
    {'CORRENTE_MODEL__SEED': '3'}

    Raises:
        WrongInput: a line is no such thing.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise WrongInput(f"line {number} of the settings is {line[:80]!r}, not NAME=value")
            settings[name.strip()] = value.strip()
    return settings


class _Watch:
    """Reports the hit rate so far to a trial after each twentieth of the history, and ends a hopeless one."""

    def __init__(self, trial: optuna.Trial, cutoff: int) -> None:
        self._trial, self._cutoff = trial, cutoff
        self._hits = self._tests = self._step = 0

    def __call__(self, done: int, total: int, walk: Walk, names: Sequence[str]) -> None:
        import optuna

        blend = list(names).index(BLEND)
        rank = metrics.ranks(walk.greater[:, blend], walk.equal[:, blend], walk.found)
        self._hits += int((rank <= self._cutoff).sum())
        self._tests += len(rank)
        step = done * 20 // total
        if step > self._step and self._tests:
            self._step = step
            self._trial.report(self._hits / self._tests, step)
            if self._trial.should_prune():
                raise optuna.TrialPruned


def _suggested(trial: optuna.Trial, knob: Knob) -> float:
    if knob.whole:
        return trial.suggest_int(knob.label, int(knob.low), int(knob.high))
    return trial.suggest_float(knob.label, knob.low, knob.high, log=knob.low > 0 and knob.high / knob.low >= 100)


def _value_of(settings: ModelSettings, knob: Knob) -> float:
    value = settings.weights.get(knob.kind, 1.0) if knob.kind else getattr(settings, knob.name)
    return float(min(max(value, knob.low), knob.high))


def _differing(ours: ModelSettings, default: ModelSettings) -> dict[str, Any]:
    mine, theirs = ours.model_dump(mode="json"), default.model_dump(mode="json")
    return {name: value for name, value in mine.items() if value != theirs[name]}


def _hr(evaluation: Evaluation) -> float:
    return float(evaluation.measured(BLEND).mean())


def _leading(history: History, share: float) -> History:
    rows = np.arange(int(len(history) * share))
    return replace(history, data=taken(history.data, rows), rows=history.rows[rows])


def _without_tests(history: History) -> History:
    """The history, or its `train` rows if somebody has set its tests apart: these are never tuned on."""
    if not is_frozen_split(kinds_of(history)):
        return history
    rows = np.flatnonzero(history.data.event.codes == history.data.event.names.index("train"))
    notes = (*history.notes, "only the train rows of the frozen split were used")
    return replace(history, data=taken(history.data, rows), rows=history.rows[rows], notes=notes)
