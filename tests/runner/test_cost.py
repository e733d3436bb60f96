"""What a run takes: the nearest measurement of one machine, its range, workers, and how far off a plan was."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ranbench import counts
from ranbench.environment.here import Here
from ranbench.records import Attempt, Calibration, Environment, RunRecord, State
from ranbench.runner.calibrating import calibrate
from ranbench.runner.cost import Costs, Kind, about, choose_kind, looked_at, makespan, step_key
from ranbench.runner.estimates import Estimates
from ranbench.runner.hindsight import Hindsight, hindsight
from ranbench.runner.how import How
from ranbench.runner.plan import plan
from ranbench.spec import RunSpec
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Environment(
    device="cpu", device_name="A CPU", cpu="A CPU", cores=2, memory_bytes=1, threads=1, engine_path="eager", python="3",
    platform="linux", versions={"torch": "2.11.0"}, commit=None, dirty=False, patch=None, host="h",
    user="u", command="",
)  # fmt: skip
HERE = Here("A CPU", (), "2.11.0")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("table5-digits")


def spec_of(suite: Suite, model: str, noise: str = "0.5", seed: int = 0) -> RunSpec:
    return next(spec for spec in suite.runs({"model": model, "noise": noise}) if spec.seed == seed)


def done(
    spec: RunSpec,
    seconds: float,
    clock: float | None = None,
    *,
    began: datetime = NOW,
    environment: Environment = PLACE,
    bundle: str | None = None,
    **metrics: float,
) -> RunRecord:
    """A done run whose steps took ``seconds``, and which took ``clock`` in all."""
    ended = began + timedelta(seconds=clock or seconds)
    attempt = Attempt(
        id=1, fingerprint=spec.fingerprint, number=1, state=State.DONE, reason=None, error=None, code_id="c",
        step=spec.protocol.iterations, iterations=spec.protocol.iterations, resumes=0, resumed_inexactly=False,
        started=began, updated=ended, ended=ended, owner=None, environment=environment, seconds=clock, bundle=bundle,
        metrics={"error_pct": 5.0, "train_seconds": seconds, **metrics},
    )  # fmt: skip
    return RunRecord(spec.fingerprint, spec.cell_id, spec.seed, spec.model_dump(mode="json"), (attempt,))


def calibration(spec: RunSpec, step: float, image: float = 0.001, environment: Environment = PLACE) -> Calibration:
    of = about(spec)
    return Calibration(step_key(of), of, step, image, 100.0, "c" * 64, NOW, environment)


def test_a_run_evaluates_its_test_images_at_each_evaluation_and_as_many_more_with_wrong_labels(suite: Suite) -> None:
    assert looked_at(spec_of(suite, "resnet-164", "0.0")) == 8 * 360
    assert looked_at(spec_of(suite, "resnet-164", "0.5")) == 2 * 8 * 360


def test_runs_of_an_equal_net_give_steps_and_evaluations_and_their_range(suite: Suite) -> None:
    trained = [spec_of(suite, "attention-92", "0.0", seed) for seed in (0, 1, 2)]
    steps = (157.0, 2 * 157.0, 4 * 157.0)
    costs = Costs.of([done(spec, each, each + 28.8) for spec, each in zip(trained, steps, strict=True)])

    found = costs.estimate(spec_of(suite, "attention-92", "0.5"), 157)
    half = costs.estimate(spec_of(suite, "attention-92", "0.5"), 157 // 2)

    rest = 57.6  # twice the images at 10 ms
    assert found is not None and half is not None
    assert found.source == "runs"
    assert (found.seconds, found.steps) == (pytest.approx(314 + rest), pytest.approx(314))
    assert (found.low, found.high) == (pytest.approx(157 + rest), pytest.approx(628 + rest))
    assert half.seconds == pytest.approx(found.seconds * 78 / 157)


def test_a_calibration_stands_behind_done_runs_and_before_other_nets(suite: Suite) -> None:
    mine, other = spec_of(suite, "attention-92"), spec_of(suite, "resnet-164")
    calibrated = calibration(mine, 2.0)

    by_calibration = Costs.of([done(other, 157.0)], [calibrated]).estimate(mine, 157)
    by_runs = Costs.of([done(mine, 157.0)], [calibrated]).estimate(mine, 157)

    assert by_calibration is not None and by_runs is not None
    assert (by_calibration.source, by_runs.source) == ("calibration", "runs")
    assert by_calibration.seconds == pytest.approx(157 * 2.0 + 0.001 * looked_at(mine))


def test_the_newest_calibration_of_a_net_is_believed(suite: Suite) -> None:
    mine = spec_of(suite, "attention-92")

    found = Costs.of([], [calibration(mine, 9.0), calibration(mine, 2.0)]).estimate(mine, 157)

    assert found is not None
    assert found.steps == pytest.approx(157 * 2.0)


def test_options_that_change_no_cost_share_a_calibration_and_others_do_not() -> None:
    suite = load_suite("quickstart")
    residual, naive = (suite.runs({"model": "attention-56", "learning": name})[0] for name in ("residual", "naive"))
    deeper = suite.runs({"model": "attention-164"})[0]

    assert step_key(about(residual)) == step_key(about(naive))
    assert step_key(about(residual)) != step_key(about(deeper))


def test_other_nets_give_a_rate_by_multiply_adds_with_the_range_from_the_slowest_to_the_fastest() -> None:
    suite = load_suite("nightly")
    small, large, wanted = (suite.runs({"model": name})[0] for name in ("wrn-16-8", "resnet-110", "se-resnet-110"))

    def at(spec: RunSpec, rate: float) -> RunRecord:
        size = counts.lookup(spec.model, spec.data)
        assert size is not None
        return done(spec, size.training_macs(157 * 64) / rate)

    size = counts.lookup(wanted.model, wanted.data)
    assert size is not None
    whole = size.training_macs(157 * 64) * (1 + looked_at(wanted) / (3 * 157 * 64))

    one = Costs.of([at(small, 2e9)]).estimate(wanted, 157)
    two = Costs.of([at(small, 2e9), at(large, 6e9)]).estimate(wanted, 157)

    assert one is not None and two is not None
    assert (one.source, one.nets, one.low, one.high) == ("nets", 1, None, None)
    assert one.seconds == pytest.approx(whole / 2e9)
    assert (two.low, two.seconds, two.high) == tuple(pytest.approx(whole / rate) for rate in (6e9, 4e9, 2e9))


def test_runs_that_shared_a_device_say_nothing_of_the_clock(suite: Suite) -> None:
    mine = spec_of(suite, "attention-92", "0.0")

    found = Costs.of([done(mine, 157.0, 16 * 157.0, runs_at_once=16.0)]).estimate(mine, 157)

    assert found is not None
    assert found.seconds == pytest.approx(157 + looked_at(mine) / 64 / 3)  # an image forward is a third of its step


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 2},
        {"engine_path": "compiled"},
        {"versions": {"torch": "2.12.0"}},
        {"cpu": "another", "device_name": "another"},
        {"device": "cuda", "device_name": "a GPU"},
    ],
)
def test_what_was_measured_in_another_way_or_elsewhere_is_left_out(suite: Suite, changes: dict[str, object]) -> None:
    mine = spec_of(suite, "attention-92")
    elsewhere = dataclasses.replace(PLACE, **changes)  # type: ignore[arg-type]

    costs = Costs.of(
        [done(mine, 1.0, environment=elsewhere)], [calibration(mine, 1.0, environment=elsewhere)], kind=Kind.of(PLACE)
    )

    assert costs.estimate(mine, 157) is None


def test_runs_of_a_bundle_say_nothing_of_this_machine(suite: Suite) -> None:
    record = done(spec_of(suite, "attention-92"), 1.0, bundle="b" * 64)

    assert choose_kind([record], [], HERE) is None
    assert Costs.of([record], kind=Kind.of(PLACE)).steps == {}


def test_a_plan_is_for_the_kind_that_was_used_last_here_of_those_that_fit(suite: Suite) -> None:
    mine, two = spec_of(suite, "attention-92"), dataclasses.replace(PLACE, threads=2)
    gpu = dataclasses.replace(PLACE, device="cuda", device_name="a GPU")
    later, latest = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    records = [
        done(mine, 1.0),
        done(mine, 1.0, began=later, environment=two),
        done(mine, 1.0, began=latest, environment=gpu),
        done(mine, 1.0, began=latest, environment=dataclasses.replace(PLACE, versions={"torch": "2.12.0"})),
    ]

    with_gpu = dataclasses.replace(HERE, gpus=("a GPU",))
    assert choose_kind(records, [], HERE) == Kind.of(two)
    assert choose_kind(records, [], HERE, threads=1) == Kind.of(PLACE)
    assert choose_kind(records, [], with_gpu) == Kind.of(gpu)
    assert choose_kind(records, [], with_gpu, device="cpu") == Kind.of(two)
    assert choose_kind(records, [], HERE, device="cuda") is None


def test_the_longest_run_is_begun_first() -> None:
    assert makespan([3.0, 3.0, 2.0, 2.0, 2.0], 2) == 7.0
    assert makespan([3.0, 1.0], 5) == 3.0
    assert makespan([], 2) == 0.0


def test_a_plan_shares_its_time_over_workers_and_adds_their_memory(suite: Suite) -> None:
    [large, small] = (spec_of(suite, name) for name in ("resnet-164", "attention-92"))
    costs = Costs.of([done(large, 60.0, peak_memory_bytes=300.0), done(small, 30.0, peak_memory_bytes=200.0)])

    made = plan(suite, [], {"noise": "0.0"}, costs=costs, jobs=3)

    each = [run.seconds for run in made.runs if run.seconds]
    assert made.seconds == pytest.approx(sum(each))
    assert made.elapsed == pytest.approx(makespan(each, 3))
    assert made.seconds / 3 <= made.elapsed <= made.seconds / 3 + max(each)
    assert (made.memory_bytes, made.memory_of_workers) == (300.0, 900.0)


def test_what_a_plan_does_not_know_of_every_run_it_does_not_add_up(suite: Suite) -> None:
    made = plan(suite, [], costs=Costs(), jobs=2)

    assert (made.seconds, made.range, made.elapsed, made.memory_of_workers) == (None, None, None, None)


def test_hindsight_compares_the_runs_of_a_campaign_with_what_was_known_before_it(suite: Suite) -> None:
    before, *trained = (spec_of(suite, "attention-92", "0.5", seed) for seed in range(4))
    later = NOW + timedelta(hours=1)
    records = [
        done(before, 80.0, 100.0, peak_memory_bytes=1000.0),
        done(trained[0], 90.0, 110.0, began=later, peak_memory_bytes=1050.0),
        done(trained[1], 90.0, 114.0, began=later + timedelta(seconds=110), peak_memory_bytes=990.0),
        done(trained[2], 90.0, 112.0, began=later + timedelta(seconds=230), runs_at_once=2.0),
    ]

    found = hindsight(records, records)

    assert found is not None
    assert (found.runs, found.unplanned) == (3, 0)
    assert (found.planned, found.took) == (pytest.approx(100 + 100 + 80), pytest.approx(110 + 114 + 90))
    assert found.words == "12 % too short"
    assert (found.planned_bytes, found.took_bytes) == (1000.0, 1050.0)
    assert hindsight(records, records, began=later + timedelta(days=1)) is None


def test_runs_of_which_nothing_was_known_are_counted_and_not_compared(suite: Suite) -> None:
    records = [done(spec_of(suite, "attention-92"), 80.0, 100.0)]

    found = hindsight(records, records)

    assert found is not None
    assert (found.runs, found.unplanned) == (0, 1)


@pytest.mark.parametrize(
    ("planned", "took", "words"),
    [
        (100.0, 112.0, "12 % too short"),
        (100.0, 80.0, "20 % too long"),
        (100.0, 100.4, "right to 1 %"),
        (1.0, 54.1, "54 times too short"),
    ],
)
def test_how_far_off_a_plan_was_is_said_in_percent_of_it(planned: float, took: float, words: str) -> None:
    assert Hindsight(1, planned, took).words == words


def test_a_calibration_measures_steps_evaluation_and_memory_and_is_stored(tmp_path: Path) -> None:
    suite = load_suite("quickstart", seeds=1)
    spec = suite.runs({"model": "attention-56", "learning": "naive"})[0]
    notes: list[str] = []

    (found,) = calibrate([spec], device="cpu", how=How(threads=1), note=notes.append)
    with Store.open(f"sqlite:///{tmp_path}/c.db") as store:
        store.record_calibration(found)
        kept = store.calibrations()

    assert kept == [found]
    assert 0 < found.image_seconds < found.step_seconds < 60
    assert found.memory_bytes is None or found.memory_bytes > 2**20
    assert (found.environment.threads, found.environment.device) == (1, "cpu")
    costs = Costs.of([], kept, kind=choose_kind([], kept, Here.look()))
    [residual] = suite.runs({"model": "attention-56", "learning": "residual"})
    estimate = costs.estimate(residual, 157)
    assert estimate is not None
    assert estimate.source == "calibration"


def test_a_net_of_ones_own_is_not_imported_for_a_calibration_unless_that_is_allowed(tmp_path: Path) -> None:
    [spec] = load_suite("quickstart", seeds=1).runs({"model": "attention-56", "learning": "naive"})
    foreign = spec.model_copy(update={"model": spec.model.model_validate({"name": "nowhere.at_all:net"})})
    notes: list[str] = []

    assert calibrate([foreign], device="cpu", how=How(threads=1), note=notes.append) == []
    assert notes == [
        "nowhere.at_all:net on digits: not calibrated, since importing it runs its code (--trust-imports allows it)"
    ]


def test_within_a_budget_a_cell_is_estimated_by_the_whole_time_of_its_done_runs_be_they_smoke_runs() -> None:
    suite = load_suite("table3", protocol="smoke", seeds=2)
    first, second = spec_of(suite, "attention-56", "0"), spec_of(suite, "attention-56", "0", seed=1)
    other = spec_of(suite, "attention-92", "0")
    smoke = done(first, 60.0, 70.0)
    assert smoke.smoke

    estimates = Estimates([smoke], "cpu", {})

    assert estimates.seconds(second) == pytest.approx(70.0)
    assert estimates.seconds(other) is None
    estimates.learn(first, first.protocol.iterations, 35.0)
    assert estimates.seconds(second) == pytest.approx(35.0)  # what this command measured is nearer
    assert estimates.seconds(other) is not None
