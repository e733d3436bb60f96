"""Plan, skip, dispatch, train, record: the only place where training meets the store."""

from ranbench.runner.checking import Checked, check
from ranbench.runner.devices import check_device
from ranbench.runner.dispatch import Dispatch
from ranbench.runner.events import Observer, Stop, Summary
from ranbench.runner.how import How, workers_of_each
from ranbench.runner.masks import RunMasks, masks_of
from ranbench.runner.plan import Plan, PlannedRun, plan
from ranbench.runner.probing import Prober
from ranbench.runner.processes import check_sharing, follow, joined, launch, rank_here
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
    "check_sharing",
    "follow",
    "joined",
    "launch",
    "masks_of",
    "plan",
    "rank_here",
    "run",
    "workers_of_each",
]
