"""The estimate of hours on a GPU: from done runs on one, and from nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ranbench import counts
from ranbench.records import Attempt, Environment, RunRecord, State
from ranbench.runner.plan import plan
from ranbench.spec import RunSpec
from ranbench.suite import Suite, load_suite

NOW = datetime(2025, 1, 1, tzinfo=UTC)
RUN_OF_ATTENTION = 160_000 * 64 * 3 * 211_913_216  # multiply-adds of a run of table 5
RUN_OF_RESNET = 160_000 * 64 * 3 * 244_500_992


def environment(device: str, name: str) -> Environment:
    return Environment(
        device=device, device_name=name, cpu="cpu", cores=2, memory_bytes=1, threads=1, engine_path="graph", python="3",
        platform="linux", versions={}, commit=None, dirty=False, patch=None, host="host", user="user", command="",
    )  # fmt: skip


def done(spec: RunSpec, seconds: float, device: str = "cuda", name: str = "a GPU", **metrics: float) -> RunRecord:
    """A done run whose training steps took so long."""
    attempt = Attempt(
        id=1, fingerprint=spec.fingerprint, number=1, state=State.DONE, reason=None, error=None, code_id="c",
        step=spec.protocol.iterations, iterations=spec.protocol.iterations, resumes=0, resumed_inexactly=False,
        started=NOW, updated=NOW, ended=NOW, owner=None, environment=environment(device, name),
        metrics={"error_pct": 5.0, "train_seconds": seconds, **metrics},
    )  # fmt: skip
    return RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), (attempt,))


@pytest.fixture
def table5() -> Suite:
    return load_suite("table5")


def first(suite: Suite, model: str, *seeds: int) -> list[RunSpec]:
    return [run for run in suite.runs({"model": model, "noise": "0.1"}) if run.seed in seeds]


def test_the_multiply_adds_of_table_5_are_what_is_worked_out_by_hand(table5: Suite) -> None:
    made = plan(table5, [])

    assert counts.PASSES_OF_A_STEP == 3
    assert len(made.runs) == 55
    assert made.macs == 30 * RUN_OF_ATTENTION + 25 * RUN_OF_RESNET


def test_without_a_run_on_a_gpu_no_hours_are_made_up(table5: Suite) -> None:
    [on_cpu] = first(table5, "attention-92", 0)
    [short] = first(load_suite("table5", protocol="smoke"), "attention-92", 0)

    made = plan(table5, [done(on_cpu, 100.0, "cpu", "a CPU"), done(short, 1.0)])

    assert (made.gpu.hours, made.gpu.basis) == (
        None,
        "no done run on a GPU on this dataset in this database, smoke runs aside, and no rate is assumed "
        "(--gpu-rate states one)",
    )


def test_a_rate_that_is_stated_stands_for_measured_ones(table5: Suite) -> None:
    [spec] = first(table5, "attention-92", 0)

    made = plan(table5, [done(spec, 3600.0)], gpu_rate=RUN_OF_ATTENTION / 3600)

    assert made.gpu.hours == pytest.approx(29 + 25 * RUN_OF_RESNET / RUN_OF_ATTENTION)
    assert made.gpu.basis == f"the stated rate of {RUN_OF_ATTENTION / 3600e12:g} T multiply-adds a second"


def test_every_net_has_its_own_measured_rate(table5: Suite) -> None:
    attention, resnet = first(table5, "attention-92", 0, 1, 2), first(table5, "resnet-164", 0)
    times = (3600.0, 7200.0, 10_800.0)  # the median rate is a run in two hours
    records = [done(spec, seconds) for spec, seconds in zip(attention, times, strict=True)]

    made = plan(table5, [*records, done(resnet[0], 3 * 3600.0)])

    assert made.gpu.hours == pytest.approx(27 * 2 + 24 * 3)
    assert made.gpu.basis == "rates of 4 done runs on a GPU"


def test_a_net_that_no_gpu_has_trained_gets_the_median_rate_of_the_others_and_the_plan_says_so(table5: Suite) -> None:
    [spec] = first(table5, "attention-92", 0)

    made = plan(table5, [done(spec, 3600.0)], {"noise": "0.1"})

    assert made.gpu.hours == pytest.approx(4 + 5 * RUN_OF_RESNET / RUN_OF_ATTENTION)
    assert made.gpu.basis == "rates of 1 done run on a GPU; resnet-164 at the median of attention-92"


def test_runs_on_other_images_say_nothing_of_time_and_memory(table5: Suite) -> None:
    [digits, *_] = load_suite("quickstart").runs({"model": "attention-164"})
    records = [done(digits, 100.0, peak_memory_bytes=1e9), done(digits, 100.0, "cpu", "a CPU")]

    made = plan(table5, records)

    assert (made.seconds, made.memory_bytes, made.gpu.hours) == (None, None, None)
    assert made.basis == "unknown until a first run is done on this database, on this dataset"
    assert made.gpu.basis.startswith("no done run on a GPU on this dataset in this database")


def test_the_nearest_runs_give_the_rate_and_the_basis_says_which(table5: Suite) -> None:
    [mine] = first(table5, "attention-92", 0)
    [short] = first(load_suite("table5", protocol="smoke"), "resnet-164", 0)
    only = {"model": "attention-92"}
    smoke_rate = short.protocol.iterations * 64 * 3 * 244_500_992 / 2.0

    by_smoke = plan(table5, [done(short, 2.0, "cpu")], only)
    by_net = plan(table5, [done(short, 2.0, "cpu"), done(mine, 3600.0, "cpu", peak_memory_bytes=7.0)], only)

    assert by_smoke.seconds == pytest.approx(30 * RUN_OF_ATTENTION / smoke_rate)
    assert by_smoke.basis == (
        "measured rates of done smoke runs of other nets on the same dataset, which are mostly warm-up"
    )
    assert (by_net.seconds, by_net.memory_bytes) == (pytest.approx(29 * 3600.0), 7.0)
    assert by_net.basis == "measured rates of done runs of the same net"


def test_of_two_kinds_of_gpu_the_one_with_more_runs_is_taken(table5: Suite) -> None:
    slow, *fast = first(table5, "attention-92", 0, 1, 2)

    made = plan(table5, [done(slow, 36_000.0, name="slow"), *(done(spec, 3600.0, name="fast") for spec in fast)])

    assert made.gpu.basis == "rates of 2 done runs on fast; resnet-164 at the median of attention-92"
