"""What Ray adds to a run: 200 calls of one second each on two places of a local cluster, and of the worker pool."""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec

import psutil

from common import pause
from common.measure import Options, Result, Target, script
from ranbench.execution import Event, Executor, LocalPool, Resources, Returned, Task, Told

PLACES = 2
SECONDS = 1.0


def main(options: Options) -> Result:
    calls, seconds = options.count(200, 2), SECONDS if not options.quick else 0.01
    starts: dict[str, float] = {}
    samples: dict[str, list[float]] = {}

    def measure(name: str, make: type[LocalPool] | None) -> None:
        began = time.perf_counter()
        with local_ray() if make is None else make(PLACES) as executor:
            through(executor, PLACES, 0.0)
            starts[name] = time.perf_counter() - began
            samples[f"{name}_s"] = through(executor, calls, seconds)

    has_ray = find_spec("ray") is not None
    if has_ray:
        measure("ray", None)
    measure("pool", LocalPool)

    def of_each(name: str) -> float:
        """Seconds that a place was not at work, by call."""
        return statistics.mean(samples[f"{name}_s"])

    return Result(
        targets=[
            Target(
                f"Ray, besides a run of {SECONDS:.0f} s",
                1e3 * of_each("ray") if has_ray else None,
                "at most",
                50,
                "ms",
                why="" if has_ray else "Ray is not installed",
            )
        ],
        lines=[
            *(
                f"{name}: {1e3 * of_each(name):.3g} ms besides each of {calls} calls on {PLACES} places "
                f"(median {1e3 * statistics.median(samples[f'{name}_s']):.3g} ms); the first had "
                f"ended {starts[name]:.1f} s after the start"
                for name in starts
            ),
            f"the machine has {psutil.cpu_count()} cores, and a load of {psutil.getloadavg()[0]:.1f} at the end",
        ],
        samples=samples,
        facts={"start_s": starts, "calls": calls, "places": PLACES},
    )


def local_ray() -> Executor:
    """A local cluster."""
    from ranbench.execution.actors import RayExecutor
    from ranbench.execution.cluster import Cluster

    return RayExecutor(Cluster(cores=PLACES), Resources(cpus=1))


def through(executor: Executor, calls: int, seconds: float) -> list[float]:
    """Hand out calls as places get free; return for each the time from its submission to its end, beyond its own."""
    begun: dict[int, float] = {}
    found: list[float] = []

    def handle(event: Event) -> None:
        if isinstance(event, Told):
            return
        assert isinstance(event, Returned), event
        assert isinstance(event.key, int)
        assert isinstance(event.result, float)
        found.append(time.perf_counter() - begun[event.key] - event.result)

    while len(found) < calls:
        while len(begun) < calls and executor.room > 0:
            begun[len(begun)] = time.perf_counter()
            executor.submit(Task(len(begun) - 1, pause.call, (seconds,)))
        executor.poll(handle, 1.0)
    return found


if __name__ == "__main__":
    script(main)
