"""How calls are dispatched: in this process, to a pool of worker processes; knows nothing of training or databases.

``calls`` has the contract of every executor, with what is handed to it and what it hands back; ``here`` and ``pool``
are two of them. The third, on Ray, is ``actors``, with its ``cluster``; both are imported only where they are asked
for. Whoever writes another one implements ``Executor`` and nothing else.
"""

from ranbench.execution.calls import (
    CallFailed,
    Channel,
    Event,
    Executor,
    Lost,
    Raised,
    Resources,
    Returned,
    Task,
    Told,
)
from ranbench.execution.here import Here
from ranbench.execution.pool import LocalPool
from ranbench.execution.stop import Stop

__all__ = [
    "CallFailed",
    "Channel",
    "Event",
    "Executor",
    "Here",
    "LocalPool",
    "Lost",
    "Raised",
    "Resources",
    "Returned",
    "Stop",
    "Task",
    "Told",
]
