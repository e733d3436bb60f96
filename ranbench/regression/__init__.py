"""A baseline against the results of a night -> findings. Nothing is trained here, and no database is read."""

from ranbench.regression.baseline import Baseline, Floor, Header, read_baseline, write_baseline
from ranbench.regression.confirmation import confirmed, doubtful
from ranbench.regression.cycles import CYCLES, due, overdue
from ranbench.regression.findings import Exempt, Finding, Kind, Report
from ranbench.regression.results import identity, of_present_code, results_of
from ranbench.regression.rules import NOT_DUE, STOPPED, compare, floors_of
from ranbench.regression.values import STEP_MEMORY, STEP_RATIO, CellResult, Jobs, Place, SuiteResult

__all__ = [
    "CYCLES",
    "NOT_DUE",
    "STEP_MEMORY",
    "STEP_RATIO",
    "STOPPED",
    "Baseline",
    "CellResult",
    "Exempt",
    "Finding",
    "Floor",
    "Header",
    "Jobs",
    "Kind",
    "Place",
    "Report",
    "SuiteResult",
    "compare",
    "confirmed",
    "doubtful",
    "due",
    "floors_of",
    "identity",
    "of_present_code",
    "overdue",
    "read_baseline",
    "results_of",
    "write_baseline",
]
