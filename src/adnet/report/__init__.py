"""Tables, figures and one page from finished runs on disk; no model and no training is imported."""

from adnet.report.evaluations import Evaluation
from adnet.report.page import build_report
from adnet.report.runs import Run, find_runs
from adnet.report.statistics import Interval, PairedDifference, bootstrap_interval, paired_difference

__all__ = [
    "Evaluation",
    "Interval",
    "PairedDifference",
    "Run",
    "bootstrap_interval",
    "build_report",
    "find_runs",
    "paired_difference",
]
