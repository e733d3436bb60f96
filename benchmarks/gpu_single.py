"""GPU: one run of Attention-56, batch 64: our engine against the plain reference, eager float32 with a DataLoader."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

from common import engine, limits, plain
from common.measure import Options, Result, Target, cuda, in_turns, ratio, script, spread
from ranbench.counts import PASSES_OF_A_STEP

WAYS = (("float32", "eager"), ("float32", "graph"), ("tf32", "graph"), ("bf16", "graph"), ("bf16", "compiled"))
WORKERS = 8  # of the DataLoader, as far as there are cores


def main(options: Options) -> Result:
    device = cuda()
    images, which = engine.images_of(options)
    protocol = engine.paper_protocol()
    steps = options.count(200, 2)
    workers = min(WORKERS, os.cpu_count() or 1)
    theirs = plain.Plain(engine.new_net(images, protocol), images, protocol, device, workers=workers)
    ways: dict[str, Callable[[], float]] = {"plain_images_per_s": lambda: theirs.rate(steps)}
    for precision, path in WAYS:
        ours = engine.engine(images, device, precision=precision, path=path)
        ways[f"{precision}_{path}_images_per_s"] = engine.fixed(ours, steps)
    samples = in_turns(ways, rounds=options.count(15, 1), warm=options.count(2, 1))
    rates = {name: statistics.median(values) for name, values in samples.items()}
    best = max((name for name in rates if name != "plain_images_per_s"), key=rates.__getitem__)
    precision = best.split("_")[0]
    peak = limits.matmul_peak(device, options.count(8192, 256), precision)
    share = PASSES_OF_A_STEP * engine.macs() * rates[best] / peak
    return Result(
        targets=[
            Target("one run against plain", ratio(samples, best, "plain_images_per_s"), "at least", 5),
        ],
        lines=[
            *(f"{name.removesuffix('_images_per_s')}: {rate:,.0f} images/s" for name, rate in rates.items()),
            f"best: {best.removesuffix('_images_per_s')}, ratio {spread(samples, best, 'plain_images_per_s')}",
            f"{engine.macs():,} multiply-adds an image and forward pass, batch {protocol.batch}",
            f"share of the limit: {100 * share:.1f} % of the peak of {precision} matrix products",
            f"the plain reference's DataLoader has {workers} workers",
            which,
        ],
        samples=samples,
        facts={**rates, "macs": engine.macs(), "matmul_macs_per_s": peak, "workers": workers},
        device=device,
        path=best.removesuffix("_images_per_s"),
    )


if __name__ == "__main__":
    script(main)
