"""Claims + records -> verdicts. The numbers come from ``statistics``; here stand the rules and their words.

Nothing is read from a database and nothing is rendered. The rules are those of ``docs/statistics.md``.
"""

from ranbench.claims.declaring import Version, done_at
from ranbench.claims.judging import compared, judge
from ranbench.claims.planning import Planned, plan_seeds
from ranbench.claims.verdict import (
    Beside,
    DeclaredAfter,
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
    "DeclaredAfter",
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
    "Version",
    "compared",
    "done_at",
    "judge",
    "plan_seeds",
]
