"""What the database knows of costs: for plans, and how far off they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ranbench.cli.output import duration, note, plural
from ranbench.environment.here import Here
from ranbench.errors import RanbenchError, one_line
from ranbench.records import Calibration, Complexity, RunRecord
from ranbench.runner.cost import Costs, Kind, choose_kind
from ranbench.runner.hindsight import Hindsight, hindsight
from ranbench.runner.plan import Plan
from ranbench.runner.plan import plan as make
from ranbench.spec import RunSpec, complexity_key
from ranbench.suite import Suite

if TYPE_CHECKING:
    from ranbench.cli.options import Settings
    from ranbench.store import Store


@dataclass(frozen=True)
class Known:
    """What was measured, the kind that a plan is for (None where nothing was measured here), how far off it was."""

    suite: Suite
    records: list[RunRecord]
    calibrations: list[Calibration]
    sizes: Mapping[str, Complexity]
    kind: Kind | None
    hindsight: Hindsight | None

    @classmethod
    def of(cls, chosen: Settings, suite: Suite, *, device: str, threads: int | None) -> Known:
        """Read it; nothing where there is no database."""
        if not chosen.exists():
            return cls(suite, [], [], {}, None, None)
        with chosen.store(create=False) as store:
            records, calibrations, sizes = store.runs(), store.calibrations(), _sizes(store, suite)
        kind = choose_kind(records, calibrations, Here.look(), device=device, threads=threads)
        asked = {run.fingerprint for run in suite.runs()} if records else set()
        mine = [record for record in records if record.fingerprint in asked]
        off = hindsight(mine, records, calibrations, sizes)
        return cls(suite, records, calibrations, sizes, kind, off)

    def plan(self, only: Mapping[str, str], *, gpu_rate: float | None, jobs: int) -> Plan:
        """Plan the suite on this machine."""
        costs = Costs(sizes=self.sizes)
        if self.kind:
            costs = Costs.of(self.records, self.calibrations, self.sizes, kind=self.kind)
        return make(self.suite, self.records, only, self.sizes, gpu_rate=gpu_rate, costs=costs, jobs=jobs)

    @property
    def said(self) -> list[str]:
        """Lines on the machine that a plan is for, and on the last one."""
        if self.kind is None:
            return [
                "nothing is measured on this machine: 'ranbench plan SUITE --calibrate' times a few steps of each net"
            ]
        lines = [f"on {self.kind}"]
        return [*lines, f"the last plan was {_off(self.hindsight)}"] if _told(self.hindsight) else lines

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain values."""
        off = self.hindsight
        told = None if off is None else {**asdict(off), "words": off.words if off.runs else None}
        return {"measured_on": asdict(self.kind) if self.kind else None, "last_plan": told}


def _told(off: Hindsight | None) -> bool:
    return off is not None and off.runs > 0


def _off(off: Hindsight | None) -> str:
    assert off is not None
    times = f"{plural(off.runs, 'run')} took {duration(off.took)}, {duration(off.planned)} were planned"
    memory = "" if off.memory_words is None else f"; memory {off.memory_words}"
    left_out = f"; of {plural(off.unplanned, 'more run')} nothing was known" if off.unplanned else ""
    return f"{off.words}: {times}{memory}{left_out}"


def _sizes(store: Store, suite: Suite) -> dict[str, Complexity]:
    stored = {key: store.complexity(key) for key in {complexity_key(cell.model, cell.data) for cell in suite.cells}}
    return {key: size for key, size in stored.items() if size is not None}


def after_run(store: Store, suite: Suite, only: Mapping[str, str], began: datetime) -> str | None:
    """Say how far off the plan was of the runs that began since; None where none of them is done.

    The runs are done and recorded by now: what cannot be read of others costs this line only.
    """
    try:
        mine = store.runs([spec.fingerprint for spec in suite.runs(only)])
        off = hindsight(mine, store.runs(), store.calibrations(), _sizes(store, suite), began=began)
    except RanbenchError as error:
        return f"how far off the plan was cannot be told: {one_line(error)}"
    if off is None:
        return None
    if not _told(off):
        return "nothing was known of the time of these runs before they began; the next plan rests on them"
    return f"the plan was {_off(off)}"


def calibrated(
    chosen: Settings, specs: Sequence[RunSpec], *, device: str, threads: int | None, trust_imports: bool
) -> None:
    """Measure a few steps of every net on this machine, and record what they took."""
    from ranbench import runner
    from ranbench.runner.calibrating import calibrate

    how = runner.How(threads=threads, trust_imports=trust_imports)
    with ExitStack() as stack:
        # one that cannot be written is refused before anything is measured; none is made for a device that is not here
        there = stack.enter_context(chosen.store(create=True)) if chosen.exists() else None
        found = calibrate(specs, device=device, how=how, note=note)
        store = there or stack.enter_context(chosen.store(create=True))
        for one in found:
            store.record_calibration(one)
            model, data = one.about["model"]["name"], one.about["data"]["name"]
            memory = "" if one.memory_bytes is None else f", {one.memory_bytes / 2**20:,.0f} MiB"
            rate = one.about["batch"] / one.step_seconds
            note(f"{model} on {data}: {1e3 * one.step_seconds:,.1f} ms a step, {rate:,.0f} images/s{memory}")
