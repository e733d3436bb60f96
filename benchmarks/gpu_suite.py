"""GPU: a suite's runs of Attention-56 together, batch 64 each, against one plain run in eager float32."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

from common import engine, limits, plain
from common.measure import Options, Result, Samples, Target, cuda, in_turns, ratio, script, spread
from ranbench.counts import PASSES_OF_A_STEP

RUNS_AT_ONCE = (1, 2, 4, 8, 16)
WAYS = (("float32", "graph"), ("bf16", "graph"), ("bf16", "compiled"))
WORKERS = 8  # of the DataLoader, as far as there are cores


def main(options: Options) -> Result:
    device = cuda()
    images, which = engine.images_of(options)
    protocol = engine.paper_protocol()
    steps = options.count(200, 2)
    workers = min(WORKERS, os.cpu_count() or 1)
    theirs = plain.Plain(engine.new_net(images, protocol), images, protocol, device, workers=workers)
    plainly = "plain_images_per_s"
    samples: Samples = {}
    ratios: dict[str, float] = {}
    lines: list[str] = []
    for precision, path in WAYS:
        for runs in RUNS_AT_ONCE:
            name = f"{runs}_runs_{precision}_{path}_images_per_s"
            # one at a time, so that each has the memory of the card for itself
            ours = engine.engine(images, device, runs_at_once=runs, precision=precision, path=path)
            ways: dict[str, Callable[[], float]] = {
                plainly: lambda: theirs.rate(steps),
                name: engine.fixed(ours, steps),
            }
            found = in_turns(ways, rounds=options.count(9, 1), warm=options.count(2, 1))
            samples |= {name: found[name], f"plain_beside_{name}": found[plainly]}
            ratios[name] = ratio(found, name, plainly)
            lines.append(
                f"{name.removesuffix('_images_per_s')}: {statistics.median(found[name]):,.0f} images/s, "
                f"ratio {spread(found, name, plainly)}"
            )
            del ours, ways
    best = max(ratios, key=ratios.__getitem__)
    precision, rate = best.split("_")[2], statistics.median(samples[best])
    peak = limits.matmul_peak(device, options.count(8192, 256), precision)
    share = PASSES_OF_A_STEP * engine.macs() * rate / peak
    return Result(
        targets=[
            Target("runs together against one plain run", ratios[best], "at least", 10),
            Target(
                "images of all runs together",
                rate,
                "at least",
                100_000,
                "images/s",
            ),
        ],
        lines=[
            *lines,
            f"{engine.macs():,} multiply-adds an image and forward pass, batch {protocol.batch} for each run",
            f"share of the limit: {100 * share:.1f} % of the peak of {precision} matrix products",
            f"the plain reference's DataLoader has {workers} workers",
            which,
        ],
        samples=samples,
        facts={"macs": engine.macs(), "workers": workers, "ratios": ratios},
        device=device,
        path=best.removesuffix("_images_per_s"),
    )


if __name__ == "__main__":
    script(main)
