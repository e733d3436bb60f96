"""A bare process: one run of a suite in a plain loop, without database, checkpoints and anything around it.

``python bare.py FILE SEED`` trains the run of the first cell with a seed on one thread and prints its images a second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from ranbench.data import load
from ranbench.data.streams import global_stream
from ranbench.models import build
from ranbench.suite import load_suite
from ranbench.training import Training, choose_path


def main(file: str, seed: str) -> None:
    torch.set_num_threads(1)
    suite = load_suite(file)
    spec = suite.cells[0].run(suite.protocol, int(seed))
    images, device = load(spec.data, Path()), torch.device("cpu")
    with global_stream(spec.seed, "init"):
        net = build(spec.model.name, spec.model.options, images.shape, images.num_classes, form=spec.data.info.form)
    path = choose_path("auto", device, foreign=False)
    protocol = spec.protocol
    training = Training(net, images, images.train_labels, protocol, seed=spec.seed, device=device, path=path)
    training.take_step()
    began = time.perf_counter()
    for _ in range(protocol.iterations - 1):
        training.take_step()
    print((protocol.iterations - 1) * protocol.batch / (time.perf_counter() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
