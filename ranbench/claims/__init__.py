"""Claims + records -> verdicts. The numbers come from ``statistics``; here stand the rules and their words.

Nothing is read from a database and nothing is rendered. The rules are those of ``docs/statistics.md``.
"""

from ranbench.claims.judging import compared, judge
from ranbench.claims.planning import Planned, plan_seeds
from ranbench.claims.verdict import (
    Beside,
    Imputed,
    Member,
    Need,
    NetPair,
    NewRun,
    Outcome,
    Sampled,
    Sensitivity,
    Verdict,
)

__all__ = [
    "Beside",
    "Imputed",
    "Member",
    "Need",
    "NetPair",
    "NewRun",
    "Outcome",
    "Planned",
    "Sampled",
    "Sensitivity",
    "Verdict",
    "compared",
    "judge",
    "plan_seeds",
]
