"""Size of a net, measured from the module: parameters, multiply-adds, memory of a step, depth; makes ``counts.json``.

Everything runs on the meta device: shapes only, no memory, no arithmetic. Reading the counts without torch is in
``ranbench.counts``. Inside this folder a module imports only from those before it: depth, ledger, counting, batch,
rows, named, registry.
"""

from __future__ import annotations

from ranbench.complexity.batch import Memory, memory
from ranbench.complexity.counting import CONVENTION, measure
from ranbench.complexity.depth import trunk_depth
from ranbench.complexity.ledger import REST
from ranbench.complexity.named import measure_named, net_of
from ranbench.complexity.registry import all_counts, write_counts
from ranbench.complexity.rows import Row, tree

__all__ = [
    "CONVENTION",
    "REST",
    "Memory",
    "Row",
    "all_counts",
    "measure",
    "measure_named",
    "memory",
    "net_of",
    "tree",
    "trunk_depth",
    "write_counts",
]
