"""How good are the lists? Test, then learn, over a history from a file; and every question that follows.

    from stream.evaluation import Protocol, evaluate, load

    result = evaluate(load("shop.tsv.gz"), Protocol(by="user", warmup=0.2))
    result.figures["blend"]["hr"]["10"]
    result.compare("blend", "cosine")

The notebook `docs/evaluation.ipynb` walks through all of it.
"""

from stream.evaluation.measures.curves import Curves, curves
from stream.evaluation.measures.result import Evaluation, Tests
from stream.evaluation.measures.significance import Difference, compare_tests
from stream.evaluation.measures.slices import Fairness, Slice, by_group, error_analysis
from stream.evaluation.protocol import Plan, Protocol, WrongInput
from stream.evaluation.replay.history import History, attribute, history_of, load
from stream.evaluation.replay.own_source import OwnSource
from stream.evaluation.replay.run import Learner, evaluate
from stream.evaluation.report.compare import compare_reports, load_report
from stream.evaluation.report.plot import plot
from stream.evaluation.report.tables import fairness_table, show, slices_table, summary
from stream.evaluation.tuning.search import Tuned, tune

__all__ = [
    "Curves",
    "Difference",
    "Evaluation",
    "Fairness",
    "History",
    "Learner",
    "OwnSource",
    "Plan",
    "Protocol",
    "Slice",
    "Tests",
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
