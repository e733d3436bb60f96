"""Intervals, tests, power: arrays in, numbers out. No claims, no words, no records.

``docs/statistics.md`` holds the sources and the error rates as measured.
"""

from ranbench.statistics.beside import (
    Disagreement,
    Permutation,
    disagreement,
    permutation,
    sampling_interval,
    smallest_p,
)
from ranbench.statistics.estimates import (
    LEVEL,
    Estimate,
    HolmStep,
    Summary,
    Values,
    contrast,
    holm,
    log_ratio,
    one_sample,
    prediction,
    slope_weights,
    summarise,
    welch,
)
from ranbench.statistics.power import MOST_SEEDS, POWER, power_beyond, power_within, seeds_needed

__all__ = [
    "LEVEL",
    "MOST_SEEDS",
    "POWER",
    "Disagreement",
    "Estimate",
    "HolmStep",
    "Permutation",
    "Summary",
    "Values",
    "contrast",
    "disagreement",
    "holm",
    "log_ratio",
    "one_sample",
    "permutation",
    "power_beyond",
    "power_within",
    "prediction",
    "sampling_interval",
    "seeds_needed",
    "slope_weights",
    "smallest_p",
    "summarise",
    "welch",
]
