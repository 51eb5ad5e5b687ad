"""Search for better settings, guarded against overfitting to the events on which they are tried.

This file decides which events a search sees. The history is cut in two. Settings are tried on the leading part only,
and a trial whose curve stays below the others' is given up early (Optuna's median pruner on the hit rate so far). The
winner then runs over the whole history beside the default, and both are judged on the tests of the *following* part,
which no trial has seen.

Optuna's sampler is seeded by the protocol, so the same search gives the same settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stream.evaluation.measures.ranks import count_ranks
from stream.evaluation.measures.result import BLEND, Evaluation
from stream.evaluation.measures.significance import compare_tests
from stream.evaluation.protocol import EvaluationProtocol, WrongInput, is_frozen_split
from stream.evaluation.replay.history import History, select_rows
from stream.evaluation.replay.learner import SpanOutcomes
from stream.evaluation.replay.run import evaluate
from stream.evaluation.tuning.tunable import TunableSetting, differing, tunable_settings, with_values
from stream.evaluation.tuning.verdict import Tuned
from stream.models.settings import ModelSettings

if TYPE_CHECKING:
    import optuna


def tune(
    history: History,
    protocol: EvaluationProtocol,
    *,
    base: ModelSettings | None = None,
    trials: int = 30,
    share: float = 0.6,
    finished: Callable[[int], None] | None = None,
    run: Callable[..., Evaluation] = evaluate,
) -> Tuned:
    """Search on the leading `share` of the history, and judge on the rest.

    Args:
        history: the events; of a frozen split only the `train` rows are used.
        protocol: the rules for both parts; its warm-up is a share of the leading part.
        base: the settings to start from and to beat; the default settings if not given.
        trials: number of settings to try.
        share: share of the history that is the leading part, from 0.1 to 0.9.
        finished: called after each trial with the number of trials done.
        run: evaluates a history under a protocol with settings.

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
    tunables = tunable_settings(ModelSettings, kinds_of(leading))
    if not tunables:
        raise WrongInput("no setting of the model has bounds, and with one kind of events there are no weights to tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=protocol.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
    )
    study.enqueue_trial({tunable.label: tunable.value_in(default) for tunable in tunables})

    def objective(trial: optuna.Trial) -> float:
        settings = with_values(default, tunables, {tunable.label: _suggest(trial, tunable) for tunable in tunables})
        return _hit_rate(run(leading, protocol, settings, progress=_PruningProgress(trial, protocol.cutoffs[0])))

    def done(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        if finished:
            finished(len(study.trials))

    study.optimize(objective, n_trials=trials, callbacks=[done])
    winner = with_values(default, tunables, study.best_params)
    judging = replace(protocol, warmup=share)
    ours, theirs = (run(whole, judging, settings) for settings in (winner, default))
    return Tuned(
        chosen=differing(winner, default),
        trials=len(study.trials),
        pruned=sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials),
        leading=(study.trials[0].value or 0.0, study.best_value),
        following=(_hit_rate(theirs), _hit_rate(ours)),
        difference=compare_tests(
            ours.measured(BLEND), theirs.measured(BLEND), ours.visitor[ours.tests.event], seed=protocol.seed
        ),
        cutoff=protocol.cutoffs[0],
    )


def kinds_of(history: History) -> list[str]:
    """Names of the kinds of events that occur."""
    return [history.data.event.names[code] for code in np.unique(history.data.event.codes)]


class _PruningProgress:
    """Reports the hit rate so far to a trial after each twentieth of the history, and ends a trial without a chance."""

    def __init__(self, trial: optuna.Trial, cutoff: int) -> None:
        self._trial, self._cutoff = trial, cutoff
        self._hits = self._tests = self._step = 0

    def __call__(self, done: int, total: int, span: SpanOutcomes, names: Sequence[str]) -> None:
        import optuna

        blend = list(names).index(BLEND)
        rank = count_ranks(span.greater[:, blend], span.equal[:, blend], span.found)
        self._hits += int((rank <= self._cutoff).sum())
        self._tests += len(rank)
        step = done * 20 // total
        if step > self._step and self._tests:
            self._step = step
            self._trial.report(self._hits / self._tests, step)
            if self._trial.should_prune():
                raise optuna.TrialPruned


def _suggest(trial: optuna.Trial, tunable: TunableSetting) -> float:
    """A value between the bounds; on a logarithmic scale if they are a factor of 100 or more apart."""
    low, high = tunable.low, tunable.high
    if tunable.whole:
        return trial.suggest_int(tunable.label, int(low), int(high))
    return trial.suggest_float(tunable.label, low, high, log=low > 0 and high / low >= 100)


def _hit_rate(evaluation: Evaluation) -> float:
    return float(evaluation.measured(BLEND).mean())


def _leading(history: History, share: float) -> History:
    rows = np.arange(int(len(history) * share))
    return replace(history, data=select_rows(history.data, rows), rows=history.rows[rows])


def _without_tests(history: History) -> History:
    """The history, or only the `train` rows of a frozen split: its tests must stay unseen."""
    if not is_frozen_split(kinds_of(history)):
        return history
    rows = np.flatnonzero(history.data.event.codes == history.data.event.names.index("train"))
    notes = (*history.notes, "only the train rows of the frozen split were used")
    return replace(history, data=select_rows(history.data, rows), rows=history.rows[rows], notes=notes)
