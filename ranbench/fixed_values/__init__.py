"""The free layer of the gate: exact counts and fixed values of every net of the suites, without training for real.

``ranbench.fixed_values.measuring.measure`` takes them and needs torch; all that is listed here does not. Inside this
folder a module imports only from those before it: nets, record, comparing, thinning, measuring.
"""

from ranbench.fixed_values.comparing import TOLERANCE, Compared, Outcome, compare, first_differences
from ranbench.fixed_values.nets import Net, nets_of
from ranbench.fixed_values.record import Context, FixedValues

__all__ = [
    "TOLERANCE",
    "Compared",
    "Context",
    "FixedValues",
    "Net",
    "Outcome",
    "compare",
    "first_differences",
    "nets_of",
]
