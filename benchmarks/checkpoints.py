"""Attention-56, batch 64, CPU: the share of training time that checkpoints cost at the engine's own intervals."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from common import engine
from common.measure import Options, Result, Target, script
from ranbench.training import Checkpoints, Stepped, Training

CPU = torch.device("cpu")


def main(options: Options) -> Result:
    images, which = engine.images_of(options)
    protocol = engine.paper_protocol(batch=options.count(64, 2))
    net = engine.new_net(images, protocol)
    training = Training(net, images, images.train_labels, protocol, seed=engine.SEED, device=CPU)
    lasting = options.count(120, 3)  # seconds
    costs: list[float] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        for record in training.run():
            if not isinstance(record, Stepped):
                continue
            now = time.perf_counter()
            if now - began > lasting:
                break
            if checkpoints.due():
                checkpoints.write(*training.state())
                costs.append(time.perf_counter() - now)
    trained = now - began - sum(costs)
    return Result(
        targets=[Target("checkpoints, share of training time", 100 * sum(costs) / trained, "at most", 1.0, "%")],
        lines=[
            f"{len(costs)} checkpoints in {trained:.1f} s of training ({training.step} steps); each took "
            f"{1e3 * min(costs):.0f} to {1e3 * max(costs):.0f} ms",
            which,
        ],
        samples={"checkpoint_s": costs},
        facts={"training_s": trained, "steps": training.step},
    )


if __name__ == "__main__":
    script(main)
