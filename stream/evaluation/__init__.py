"""Offline evaluation: replay a history from a file, test each event before it is learned, and report the figures.

    from stream.evaluation import EvaluationProtocol, evaluate, load, show, summary

    result = evaluate(load("shop.tsv.gz"), EvaluationProtocol(by="user", warmup=0.2))
    show(summary(result))
    result.figures["blend"]["hr"]["10"]
    result.compare("blend", "cosine")

The notebook `docs/notebook.ipynb` goes through every question in turn. Imports go one way, from the bottom of this
table to its top. Everything but `cli` is free of clocks and of the environment; `plot` writes the one file it is given.

| file | decides |
|---|---|
| `protocol` | which events are learned and which are tested |
| `measures` | what a test is worth: ranks, metrics, significance, slices, curves, and the result that holds the tests |
| `replay` | how a history is read and replayed through a model, event by event |
| `report` | how results are shown: tables, notebook HTML, plots, comparisons of saved results |
| `tuning` | how better settings are searched for and judged |
| `targets` | which figures the default configuration must reach on known streams |
| `warm_up` | which kernels `corrente compile` compiles for an evaluation |
| `cli` | the commands `corrente evaluate`, `corrente tune` and `corrente quality` |
"""

from stream.evaluation.measures.curves import Curves, curves
from stream.evaluation.measures.result import Evaluation, TestedEvents
from stream.evaluation.measures.significance import Difference, compare_tests
from stream.evaluation.measures.slices import Fairness, Slice, by_group, error_analysis
from stream.evaluation.protocol import EvaluationProtocol, Plan, WrongInput
from stream.evaluation.replay.history import History, attribute, history_of, load
from stream.evaluation.replay.learner import Learner
from stream.evaluation.replay.own_source import OwnSource
from stream.evaluation.replay.run import evaluate
from stream.evaluation.report.compare import compare_reports, load_report
from stream.evaluation.report.plot import plot
from stream.evaluation.report.tables import fairness_table, show, slices_table, summary
from stream.evaluation.tuning.search import tune
from stream.evaluation.tuning.verdict import Tuned

__all__ = [
    "Curves",
    "Difference",
    "Evaluation",
    "EvaluationProtocol",
    "Fairness",
    "History",
    "Learner",
    "OwnSource",
    "Plan",
    "Slice",
    "TestedEvents",
    "Tuned",
    "WrongInput",
    "attribute",
    "by_group",
    "compare_reports",
    "compare_tests",
    "curves",
    "error_analysis",
    "evaluate",
    "fairness_table",
    "history_of",
    "load",
    "load_report",
    "plot",
    "show",
    "slices_table",
    "summary",
    "tune",
]
