"""How good are the lists? Test, then learn, over a history from a file; and every question that follows.

>>> from stream.evaluation import Protocol, WrongInput
>>> Protocol(by="user", no_repeats=True, warmup=0.3).cutoffs
(10, 20)
"""

from stream.evaluation.compare import compare_reports, load_report
from stream.evaluation.curves import Curves, curves
from stream.evaluation.protocol import Plan, Protocol, WrongInput
from stream.evaluation.result import Evaluation, Tests
from stream.evaluation.significance import Difference, compare_tests
from stream.evaluation.slices import Fairness, Slice, by_group, error_analysis

__all__ = [
    "Curves",
    "Difference",
    "Evaluation",
    "Fairness",
    "Plan",
    "Protocol",
    "Slice",
    "Tests",
    "WrongInput",
    "by_group",
    "compare_reports",
    "compare_tests",
    "curves",
    "error_analysis",
    "load_report",
]
