"""Make tables, figures and an HTML page from finished runs on disk. Imports neither models nor training code."""

from adnet.report.analysis.statistics import Interval, PairedDifference, bootstrap_interval, paired_difference
from adnet.report.page import build_report
from adnet.report.read import Evaluation, Run, find_runs

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
