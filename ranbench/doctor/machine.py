"""Cores and threads, the GPU, and the settings on which it depends whether results repeat."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ranbench.doctor.finding import Finding, ok, problem, warning
from ranbench.environment import driver_version, usable_cores
from ranbench.errors import one_line

WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS repeats, as its documentation says


def machine() -> Iterator[Finding]:
    """Look at the machine; torch must be importable."""
    import torch

    yield threads(usable_cores(), os.cpu_count() or 1, torch.get_num_threads(), os.environ)
    yield gpu()
    yield determinism(os.environ, benchmark=torch.backends.cudnn.benchmark)


def threads(usable: int, cores: int, used: int, variables: Mapping[str, str]) -> Finding:
    """Judge the number of threads against the cores that this process may use."""
    asked = variables.get("OMP_NUM_THREADS")
    of = "" if usable == cores else f" of {cores}"
    text = f"{usable}{of} cores for this process, {used} threads of torch; OMP_NUM_THREADS {asked or 'is not set'}"
    if asked is not None and not (asked.isdecimal() and int(asked) > 0):
        return warning("threads", text, "set OMP_NUM_THREADS to a whole number above 0, or leave it out")
    if used > usable:
        return warning("threads", text, f"more threads than cores slow training down: set OMP_NUM_THREADS={usable}")
    return ok("threads", text)


def gpu() -> Finding:
    """Say which GPU there is, or why none can be used."""
    import torch

    driver, built = driver_version(), torch.version.cuda
    try:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count:
            names = [torch.cuda.get_device_properties(index) for index in range(count)]
            found = ", ".join(f"{each.name} ({each.total_memory / 2**30:.0f} GiB)" for each in names)
            torch.zeros(1, device="cuda").item()  # the driver is asked for real work
            cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
            return ok("gpu", f"{found}; driver {driver or 'unknown'}, CUDA {built}, cuDNN {cudnn}")
    except RuntimeError as error:
        return problem("gpu", f"cannot be used: {one_line(error)}", "'--device cpu', or mend driver and torch")
    if driver is None:
        return ok("gpu", "no NVIDIA driver is loaded; runs train on the processor")
    if built is None:
        return warning("gpu", f"driver {driver}, but torch is a build without CUDA", "install torch's build for CUDA")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return warning("gpu", f"driver {driver}; CUDA_VISIBLE_DEVICES={hidden!r} leaves none", "unset it to use them")
    text = f"driver {driver}, CUDA {built} of torch finds no GPU"
    return warning("gpu", text, "check 'nvidia-smi', and that the driver is new enough for this CUDA")


def determinism(variables: Mapping[str, str], *, benchmark: bool) -> Finding:
    """Judge what is set from outside; the engine sets the rest for each run, and records it."""
    workspace, override = variables.get("CUBLAS_WORKSPACE_CONFIG"), variables.get("NVIDIA_TF32_OVERRIDE")
    parts = [
        f"CUBLAS_WORKSPACE_CONFIG {workspace or 'is not set (--deterministic sets it)'}",
        f"cudnn.benchmark {'on' if benchmark else 'off'}",
        f"NVIDIA_TF32_OVERRIDE {override or 'is not set'} (TF32 only where a protocol says so)",
    ]
    text = ", ".join(parts)
    if workspace is not None and workspace not in WORKSPACES:
        return warning("determinism", text, f"with --deterministic, set CUBLAS_WORKSPACE_CONFIG to {WORKSPACES[0]}")
    if benchmark:
        return warning(
            "determinism", text, "something has set cudnn.benchmark, which lets equal runs differ: remove it"
        )
    if override is not None:
        return warning("determinism", text, "unset NVIDIA_TF32_OVERRIDE, which takes the choice from the protocols")
    return ok("determinism", text)
