"""How long a step of a net takes, in steps of a reference that is timed beside it; and the memory that training takes.

A time by the clock says as much of the hour as of the code. So short blocks of both alternate, and what is kept is the
ratio of neighbouring blocks: what slows the machine slows both. The reference is written out here, in plain PyTorch,
and uses nothing of this package: no change of ours can make it slower with the net that it is held against. It must
never be changed; another one makes all stored ratios worthless, so it has a number that is stored with them.

Each measurement is a process of its own (``python -m ranbench.runner.pace``), which trains nothing else: memory of a
process depends on all that it did before, and so do times, through what the allocator kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from ranbench.errors import EnvironmentProblem, one_line
from ranbench.regression import STEP_MEMORY, STEP_RATIO, Jobs, Place
from ranbench.runner.how import How
from ranbench.spec import RunSpec

if TYPE_CHECKING:
    import torch

    from ranbench.training import Training

REFERENCE = 1  # number of the reference workload
WARM_UP = 3
# Where the allocator puts a net decides a few per cent of its time, for as long as it lives: 2.5 % between nets of one
# process, as much as between processes. So a job measures several, each beside a reference of its own.
NETS = 5
PAIRS = 10  # of blocks, for each; many short ones, since it is within moments that a busy machine changes
BLOCK_SECONDS = 0.02  # a block holds as many steps as take this long, one at least
LIMIT_SECONDS = 600


def measure_jobs(
    spec: RunSpec, jobs: int, *, data: Path, device: str, threads: int | None, how: How, begun: Callable[[], bool]
) -> Jobs | None:
    """Measure a net's step in so many processes, one after the other.

    Args:
        spec: a run of the cell.
        jobs: how many.
        data: folder of the datasets.
        device: auto, cpu or cuda.
        threads: of the steps on a CPU; None: as PyTorch chooses.
        how: the way through the engine.
        begun: is asked before each process whether it may begin.

    Returns:
        What they measured, or None where none could begin.

    Raises:
        EnvironmentProblem: a process failed.
    """
    asked = {
        "spec": spec.model_dump(mode="json"),
        "data": str(data),
        "device": device,
        "threads": threads,
        "path": how.path,
        "deterministic": how.deterministic,
        "trust_imports": how.trust_imports,
    }
    found = []
    for _ in range(jobs):
        if not begun():
            break
        found.append(_answer(asked))
    if not found:
        return None
    measured = {
        name: tuple(one[name] for one in found)
        for name in (STEP_RATIO, STEP_MEMORY)
        if all(name in one for one in found)
    }
    return Jobs(measured, Place(**found[0]["place"]))


def _answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    package = Path(__file__).resolve().parent.parent.parent
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ranbench.runner.pace"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(
            f"a job that measures the step of a net took more than {LIMIT_SECONDS} seconds, and was ended"
        ) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise EnvironmentProblem(f"a job that measures the step of a net failed: {last}") from None
    return dict(answer)


def measure(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Measure in this process what ``measure_jobs`` asks for."""
    import torch

    from ranbench.catalogue import is_foreign
    from ranbench.environment import describe, peak_memory_bytes
    from ranbench.runner.attempt import net_of
    from ranbench.runner.devices import check_device
    from ranbench.runner.loading import load_onto
    from ranbench.training import Training, choose_path
    from ranbench.training.profile import measurable

    spec = RunSpec.model_validate_json(json.dumps(asked["spec"]))
    how = How(asked["path"], asked["deterministic"], threads=asked["threads"], trust_imports=asked["trust_imports"])
    device = check_device(asked["device"], how, [spec])
    if how.threads:
        torch.set_num_threads(how.threads)
    foreign = is_foreign(spec.model.name)
    path = choose_path(how.path, device, foreign=foreign, deterministic=how.deterministic)
    images = load_onto(spec.data, Path(asked["data"]), device, trusted=how.trust_imports)
    reference_step(device)()  # what the first step ever takes is not the net's
    before = peak_memory_bytes()
    protocol = measurable(spec.protocol, warm_up=WARM_UP, steps=10**6)

    def training() -> Training:
        net = net_of(spec, images, trusted=how.trust_imports)
        return Training(
            net, images, images.train_labels, protocol, seed=spec.seed, device=device, foreign=foreign, path=path
        )

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    kept = [training()]  # all are kept until the end, so that none is put where another was
    for _ in range(WARM_UP):
        kept[0].take_step()
    _wait(device)
    own = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory_bytes() - before
    found = []
    for number in range(NETS):
        if number:
            kept.append(training())
        found.append(median(ratios(_stepper(kept[-1]), reference_step(device), device)))
    place = Place.of(describe(device, torch.get_num_threads(), f"{path}, reference {REFERENCE}"))
    answer = {STEP_RATIO: mean(found), "place": asdict(place)}
    return {**answer, STEP_MEMORY: float(own)} if own > 0 else answer


def _stepper(training: Training) -> Callable[[], None]:
    def step() -> None:
        training.take_step()

    return step


def ratios(
    step: Callable[[], None], reference: Callable[[], None], device: torch.device, pairs: int = PAIRS
) -> list[float]:
    """Time blocks of both in turn, and return the ratio of each block of ``step`` to the mean of its neighbours."""
    for _ in range(WARM_UP):
        step()
        reference()
    steps, references = (_block(one, device) for one in (step, reference))
    ours, theirs = [], [_seconds(reference, references, device)]
    for _ in range(pairs):
        ours.append(_seconds(step, steps, device))
        theirs.append(_seconds(reference, references, device))
    return [2 * own / (left + right) for own, left, right in zip(ours, theirs, theirs[1:], strict=False)]


def _block(step: Callable[[], None], device: torch.device) -> int:
    """Count the steps that fill a block."""
    return max(1, round(BLOCK_SECONDS / min(_seconds(step, 1, device) for _ in range(WARM_UP))))


def _seconds(step: Callable[[], None], times: int, device: torch.device) -> float:
    """Take some steps and return the mean seconds of one, the device's work included."""
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        step()
    _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reference_step(device: torch.device) -> Callable[[], None]:
    """Return the frozen reference: one training step of a small residual net on fixed random images."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(32)
            self.first = nn.Conv2d(32, 32, 3, padding=1, bias=False)
            self.second = nn.Conv2d(32, 32, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.second(torch.relu(self.first(torch.relu(self.norm(x)))))
            return x + y

    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        *(Unit() for _ in range(6)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    images = torch.randn(64, 3, 8, 8, generator=generator).to(device)
    labels = torch.randint(10, (64,), generator=generator).to(device)
    net = net.to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(measure(json.load(sys.stdin))))
    except Exception as error:
        sys.stderr.write(f"{one_line(error)}\n")
        sys.exit(1)
