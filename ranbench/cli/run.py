"""run and plan."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import (
    Data,
    Db,
    Factor,
    Json,
    Only,
    Protocol,
    Seeds,
    SeedsFrom,
    SuiteName,
    TrustImports,
    one_of,
    pairs,
    seconds_of,
    settings,
    suite_of,
    times_the_cores,
)
from ranbench.cli.output import answer, as_json, duration, large, note, plural, table
from ranbench.errors import ProcessLost, RanbenchError, UsageError, one_line

if TYPE_CHECKING:
    import torch

    from ranbench.runner import How, Plan, Stop, Summary

DEVICES = ("auto", "cpu", "cuda")
PATHS = ("auto", "eager", "graph", "compiled")  # of training.paths, which needs torch
# More of them fill the memory with stacks and start no more; far above these, the libraries beneath torch crash.
RUNS_PER_CORE, THREADS_PER_CORE, JOBS_PER_CORE = 16, 4, 4  # a GPU takes 16 runs, however few cores are beside it
WORKERS_PER_CORE, PROCESSES_PER_CORE = 8, 2
EXECUTORS = ("local", "ray")
RERUNS = ("failed", "changed", "all")
STOPPING = "stopping after the iteration or evaluation in hand, with a checkpoint (again: at once)"

Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")]
Rerun = Annotated[
    str | None, typer.Option("--rerun", metavar="WHICH", help="Train closed runs again: failed, changed (code) or all.")
]


Path_ = Annotated[
    str, typer.Option("--path", metavar="NAME", help="How steps are dispatched: auto, eager, graph (CUDA) or compiled.")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only operators that repeat bit for bit; may be slower on a GPU.")
]
AtOnce = Annotated[
    int | None,
    typer.Option("--at-once", metavar="N", help="Runs trained at once by this process; the engine's choice."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Threads of each run on a CPU; shared out if left out.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that decode images of imagenet and imagefolder for a run; the cores, up to 16, if left out.",
    ),
]
Nproc = Annotated[
    int,
    typer.Option(
        "--nproc", metavar="N", help="Processes that train each run together, each on its share of a batch and its GPU."
    ),
]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Fail a run that takes longer by the clock, e.g. 90m.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Worker processes, which share the cores and take GPUs in turn; 1, on Ray as many as fit, if left out.",
    ),
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor", metavar="NAME", help="Where runs are trained: local (workers), ray (cluster); here, if left out."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDR", help="Ray cluster: auto, or HOST:PORT of its head; a local one, if left out."
    ),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-run", metavar="X", help="On Ray, what each worker has of a GPU, e.g. 0.25; 1 if left out."
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries", metavar="N", help="With workers: how often a run is tried again whose process died; 1 if left out."
    ),
]
Budget = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME", help="Stop after this time, e.g. 4h; begin nothing that ends later."),
]


def run(
    context: typer.Context,
    suite: SuiteName,
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    seeds_from: SeedsFrom = None,
    only: Only = None,
    device: Device = "auto",
    rerun: Rerun = None,
    path: Path_ = "auto",
    deterministic: Deterministic = False,
    at_once: AtOnce = None,
    threads: Threads = None,
    timeout: Timeout = None,
    jobs: Jobs = None,
    executor: ExecutorName = None,
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    retries: Retries = None,
    budget: Budget = None,
    workers: Workers = None,
    nproc: Nproc = 1,
    trust_imports: TrustImports = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Before training, write where a step's time goes to results/profiles/.")
    ] = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Train what is missing of a suite. Safe to repeat; goes on where it was interrupted."""
    one_of("--device", device, DEVICES)
    one_of("--path", path, PATHS)
    times_the_cores("--nproc", nproc, PROCESSES_PER_CORE)
    if rerun is not None:
        one_of("--rerun", rerun, RERUNS)
    if executor is not None:
        one_of("--executor", executor, EXECUTORS)
    if retries is not None and retries < 0:
        raise UsageError(f"--retries {retries}: must be 0 or more")
    if retries is not None and executor is None and (jobs or 1) == 1:
        raise UsageError(f"--retries {retries}: only with workers (--jobs 2 or more, or --executor), which may die")
    on_ray, elsewhere = _on_ray(executor, address, gpus_per_run), address is not None
    if profile and elsewhere:
        raise UsageError("--profile measures a step on this machine: not with --address")
    choices: dict[str, Any] = {
        "path": path,
        "deterministic": deterministic,
        "at_once": times_the_cores("--at-once", at_once, RUNS_PER_CORE, elsewhere=elsewhere),
        "threads": times_the_cores("--threads", threads, THREADS_PER_CORE, elsewhere=elsewhere),
        "timeout": None if timeout is None else seconds_of("--timeout", timeout),
        "trust_imports": trust_imports,
        "nproc": nproc,
        "workers": times_the_cores("--workers", workers, WORKERS_PER_CORE, least=0),
    }
    shared: dict[str, Any] = {
        "jobs": times_the_cores("--jobs", jobs, JOBS_PER_CORE, elsewhere=elsewhere),
        "executor": executor,
        **({} if retries is None else {"retries": retries}),
        **on_ray,
    }
    several = jobs or 1
    if nproc > 1 and (several > 1 or executor is not None):
        other = f"--jobs {jobs}" if several > 1 else f"--executor {executor}"
        raise UsageError(f"--nproc {nproc}: its processes train one run together, got {other}; leave one of them out")
    after = None if budget is None else seconds_of("--budget", budget)
    loaded = suite_of(suite, protocol, factor, seeds, seeds_from)
    selected = pairs(only)
    loaded.select(selected)  # refuse before a database is made
    chosen = settings(context, db, data)
    from ranbench import runner
    from ranbench.cli.costs import after_run
    from ranbench.cli.progress import Live, observer

    if workers is None and several > 1:
        choices["workers"] = runner.workers_of_each(several)
    how = runner.How(**choices)
    together = loaded.trains and nproc > 1
    if loaded.trains and (together or not chosen.exists()) and address is None:
        place = runner.check_device(device, how, loaded.runs(selected))
    if together:
        _leads_or_exits(how, place, chosen.data)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(interruptible(after))
        ranks = stack.enter_context(runner.joined(place, how, stop)) if together else None
        with chosen.store(create=True) as store:
            shown, began = observer(), datetime.now(UTC)
            stack.enter_context(shown if isinstance(shown, Live) else contextlib.nullcontext())
            summary = runner.run(
                loaded,
                store,
                data=chosen.data,
                results=chosen.results,
                only=selected,
                device=device,
                rerun=frozenset([rerun] if rerun else []),
                how=how,
                dispatch=runner.Dispatch(**shared),
                profile=profile,
                observer=shown,
                stop=stop,
                ranks=ranks,
            )
            off = after_run(store, loaded, selected, began) if summary.trained else None
    note(
        _said(summary, loaded.fidelity)
        if loaded.trains
        else f"{plural(summary.counted, 'net')} counted; nothing is trained"
    )
    if off:
        note(off)
    raise typer.Exit(summary.exit_code)


def _leads_or_exits(how: How, place: torch.device, data: Path) -> None:
    """Start this command once for each process and exit with its code; in these, let all but the first follow it."""
    from ranbench import runner

    rank = runner.rank_here()
    if rank is None:
        code, said = runner.launch(how.nproc, sys.orig_argv[1:])
        if said:
            note(said)
        raise typer.Exit(code)
    if rank == 0:
        return
    try:
        with runner.joined(place, how, runner.Stop()) as ranks:
            runner.follow(ranks, data=data, device=place, how=how)
    except ProcessLost as error:  # the one that ended has said why
        raise typer.Exit(error.exit_code) from None
    except RanbenchError as error:
        note(f"process {rank} of {how.nproc}: {one_line(error)}")
        raise typer.Exit(error.exit_code) from None
    raise typer.Exit(0)


def _on_ray(executor: str | None, address: str | None, gpus_per_run: float | None) -> dict[str, Any]:
    """Check what is said of a Ray cluster, and return it."""
    given = {"--address": address, "--gpus-per-run": gpus_per_run}
    if executor != "ray":
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} {value}: only with --executor ray")
        return {}
    from ranbench.execution.cluster import check_address, library

    if address is not None:
        check_address(address)
    if gpus_per_run is not None and not 0 < gpus_per_run <= 1:
        raise UsageError(
            f"--gpus-per-run {gpus_per_run:g}: must be above 0, and at most 1, for a run has one GPU at most"
        )
    library()  # refuse before a database is made
    return {"address": address, "gpus_per_run": 1.0 if gpus_per_run is None else gpus_per_run}


@contextlib.contextmanager
def interruptible(after: float | None = None, words: str = STOPPING) -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM, and the end of a time, into a wish to stop; the second signal stops at once.

    ``words``: what is said at the first.
    """
    from ranbench.runner import Stop

    stop = Stop(after)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        stop.request(number)
        note(words)
        signal.signal(signal.SIGINT, at_once)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def at_once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        note("stopped at once; the same command goes on from the last checkpoints")
        signal.default_int_handler(number, frame)

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said(summary: Summary, fidelity: str) -> str:
    parts = [f"{summary.trained} trained", f"{summary.already_done} done already"]
    if summary.elsewhere:
        parts.append(f"{summary.elsewhere} done by another command")
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    if summary.left:
        parts.append(f"{summary.left} left; the same command goes on")
    if summary.probed:
        parts.append(f"{summary.probed} measured from their final weights")
    if summary.without_probe:
        parts.append(f"{summary.without_probe} that cannot be measured")
    label = "" if fidelity == "full" else f" (fidelity: {fidelity})"
    return f"{plural(summary.total, 'run')}{label}: {', '.join(parts)}"


def plan(
    context: typer.Context,
    suite: SuiteName,
    protocol: Protocol = None,
    factor: Factor = None,
    seeds: Seeds = None,
    seeds_from: SeedsFrom = None,
    only: Only = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="First time a few steps of every net on this machine, within a minute."),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Worker processes that would share the runs.")] = 1,
    gpu_rate: Annotated[
        float | None,
        typer.Option(
            "--gpu-rate",
            metavar="X",
            help="GPU hours at this rate, in 1e12 multiply-adds of training a second; else of runs measured on a GPU.",
        ),
    ] = None,
    trust_imports: TrustImports = False,
    json: Json = False,
    db: Db = None,
) -> None:
    """Show what would run, what is done, and what it would cost. Trains nothing."""
    from ranbench.cli.costs import Known, calibrated

    if gpu_rate is not None and not 0 < gpu_rate < float("inf"):
        raise UsageError(f"--gpu-rate {gpu_rate:g}: must be above 0, in 1e12 multiply-adds a second")
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: must be 1 or more")
    one_of("--device", device, DEVICES)
    times_the_cores("--threads", threads, THREADS_PER_CORE)
    loaded = suite_of(suite, protocol, factor, seeds, seeds_from)
    selected = pairs(only)
    chosen = settings(context, db)
    if calibrate and loaded.trains:
        calibrated(chosen, loaded.runs(selected), device=device, threads=threads, trust_imports=trust_imports)
    known = Known.of(chosen, loaded, device=device, threads=threads)
    rate = None if gpu_rate is None else 1e12 * gpu_rate
    made = known.plan(selected, gpu_rate=rate, jobs=jobs)
    if json:
        as_json({**_as_dict(made), **known.as_dict()})
        return
    if not loaded.trains:
        nets = len(loaded.select(selected))
        answer(f"suite {loaded.name} trains nothing; 'ranbench run' counts its {plural(nets, 'net')}, in seconds")
        return
    rows = [
        (run.label, run.spec.seed, run.state, large(run.macs), duration(run.seconds), run.spec.fingerprint[:12])
        for run in made.runs
    ]
    columns = ("cell", "seed", "state", "multiply-adds left", "time left", "run")
    table(columns, rows, right=("seed", "multiply-adds left", "time left"))
    for line in (*_totals(made), *known.said):
        answer(line)


def _totals(made: Plan) -> Iterator[str]:
    """Say what is left in all, how long it takes, and what that rests on."""
    loaded, left = made.suite, sum(run.open for run in made.runs)
    length = "" if loaded.factor is None else f" (factor {loaded.factor:g})"
    yield f"suite {loaded.name}, protocol {loaded.protocol_name}{length}, fidelity {loaded.fidelity}"
    if not left:
        yield f"none of {plural(len(made.runs), 'run')} is left to train"
        return
    between = f" (between {duration(made.range[0])} and {duration(made.range[1])})" if made.range else ""
    yield (
        f"{left} of {plural(len(made.runs), 'run')} to train: "
        f"{large(made.macs)} multiply-adds, {duration(made.seconds)}{between}"
    )
    yield f"time: {made.basis}; memory so far: {_mib(made.memory_bytes)}"
    if made.jobs > 1:
        yield (
            f"with {made.jobs} workers: {duration(made.elapsed)}, if each is as fast as one alone; "
            f"memory of all: {_mib(made.memory_of_workers)}"
        )
    hours = "not known" if made.gpu.hours is None else f"{made.gpu.hours:,.1f} GPU hours, one run after the other"
    yield f"time on a GPU: {hours}: {made.gpu.basis}"


def _mib(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:,.0f} MiB"


def _as_dict(made: Plan) -> dict[str, object]:
    return {
        "suite": made.suite.name,
        "protocol": made.suite.protocol_name if made.suite.trains else None,
        "factor": made.suite.factor if made.suite.trains else None,
        "fidelity": made.suite.fidelity,
        "differences": list(made.suite.differences),
        "macs": made.macs,
        "seconds": made.seconds,
        "seconds_range": made.range,
        "jobs": made.jobs,
        "elapsed_seconds": made.elapsed,
        "memory_bytes": made.memory_bytes,
        "memory_of_workers_bytes": made.memory_of_workers,
        "basis": made.basis,
        "gpu_hours": made.gpu.hours,
        "gpu_basis": made.gpu.basis,
        "runs": [
            {
                "cell": run.label,
                "seed": run.spec.seed,
                "fingerprint": run.spec.fingerprint,
                "state": run.state,
                "step": run.step,
                "macs": run.macs,
                "seconds": run.seconds,
                "source": run.estimate.source if run.estimate else None,
                "memory_bytes": run.memory_bytes,
            }
            for run in made.runs
        ],
    }
