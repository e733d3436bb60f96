"""Plan, skip, dispatch, train, record: the only place where training meets the store."""

from ranbench.runner.checking import Checked, check
from ranbench.runner.devices import check_device
from ranbench.runner.dispatch import Dispatch
from ranbench.runner.events import Observer, Stop, Summary
from ranbench.runner.how import How
from ranbench.runner.masks import RunMasks, masks_of
from ranbench.runner.plan import Plan, PlannedRun, plan
from ranbench.runner.probing import Prober
from ranbench.runner.suite import run

__all__ = [
    "Checked",
    "Dispatch",
    "How",
    "Observer",
    "Plan",
    "PlannedRun",
    "Prober",
    "RunMasks",
    "Stop",
    "Summary",
    "check",
    "check_device",
    "masks_of",
    "plan",
    "run",
]
