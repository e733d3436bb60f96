"""Probes of runs: measured as a run closes, or later from its final weights, once."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from safetensors.torch import load, save

from ranbench.errors import CheckpointError, NothingMeasured
from ranbench.records import RunRecord
from ranbench.runner import Observer, Prober, Summary, check, run
from ranbench.store import Store
from ranbench.suite import Suite, load_suite

PROBED = ("claims:", "probes: [responses]\nclaims:")


class Notes(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def suite(file: Path, *, probed: bool) -> Suite:
    """The tiny suite with one seed, with or without probes."""
    text = file.read_text().replace(PROBED[1], PROBED[0])
    file.write_text(text.replace(*PROBED) if probed else text)
    return load_suite(file, seeds=1)


def execute(suite: Suite, store: Store, folder: Path, observer: Observer | None = None, **options: object) -> Summary:
    paths = {"data": folder / "data", "results": folder / "results"}
    return run(suite, store, observer=observer, **paths, **options)  # type: ignore[arg-type]


def numbers(store: Store) -> list[dict[str, float]]:
    """What was measured of every run."""
    attempts = [record.counted for record in store.runs()]
    return [dict(probe.values) for one in attempts if one and (probe := one.probe("responses"))]


def weights(record: RunRecord, store: Store, folder: Path) -> Path:
    assert record.counted is not None
    (kept,) = (file for file in store.artefacts([record.counted.id]) if file.kind == "weights")
    return folder / "results" / kept.path


def test_what_is_measured_is_no_part_of_a_run_s_identity(tiny_suite: Path) -> None:
    plain, probed = (suite(tiny_suite, probed=wanted).runs() for wanted in (False, True))

    assert [spec.fingerprint for spec in plain] == [spec.fingerprint for spec in probed]


def test_a_run_is_closed_with_what_is_measured_of_its_weights(tiny_suite: Path, store: Store, tmp_path: Path) -> None:
    summary = execute(suite(tiny_suite, probed=True), store, tmp_path)

    first, _ = store.runs()
    assert (summary.trained, summary.probed, summary.exit_code) == (2, 0, 0)
    assert [found["response_stage1_relative"] for found in numbers(store)] == [1.0, 1.0]
    assert first.counted is not None
    assert first.counted.probes[0].measured <= (first.counted.ended or first.counted.updated)
    assert "response_stage1" not in first.counted.metrics
    assert first.counted.measured["response_stage2"] == numbers(store)[0]["response_stage2"]


def test_a_done_run_is_measured_later_without_training_and_gives_the_same_bits(
    tiny_suite: Path, store: Store, tmp_path: Path
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/other/ranbench.db") as other:
        execute(suite(tiny_suite, probed=True), other, tmp_path / "other")
        at_once = numbers(other)
    execute(suite(tiny_suite, probed=False), store, tmp_path)
    before = [(found.counted.metrics, found.counted.ended) for found in store.runs() if found.counted]

    later = execute(suite(tiny_suite, probed=True), store, tmp_path)
    again = execute(suite(tiny_suite, probed=True), store, tmp_path)

    assert (later.trained, later.probed, again.probed) == (0, 2, 0)
    assert numbers(store) == at_once
    assert [(found.counted.metrics, found.counted.ended) for found in store.runs() if found.counted] == before


def test_weights_that_are_gone_or_damaged_are_said_and_the_others_are_measured(
    tiny_suite: Path, store: Store, tmp_path: Path
) -> None:
    execute(suite(tiny_suite, probed=False), store, tmp_path)
    gone, damaged = store.runs()
    weights(gone, store, tmp_path).unlink()
    weights(damaged, store, tmp_path).write_bytes(b"nothing")
    told = Notes()

    summary = execute(suite(tiny_suite, probed=True), store, tmp_path, told)

    assert (summary.probed, summary.without_probe, summary.exit_code) == (0, 2, 7)
    assert numbers(store) == []
    missing, broken = told.notes[-2:]
    assert f"the final weights of run {gone.fingerprint[:12]} cannot be read" in missing
    assert f"damaged, its content is not that of the final weights of run {damaged.fingerprint[:12]}" in broken
    assert missing.endswith("'ranbench run SUITE --rerun all' trains again")


def test_a_run_without_final_weights_is_refused(tiny_suite: Path, store: Store, tmp_path: Path) -> None:
    loaded = suite(tiny_suite, probed=False)
    store.record_suite(loaded.name, loaded.title, loaded.text, loaded.sha256, loaded.runs())
    (record, _), prober = store.runs(), Prober(store, data=tmp_path, results=tmp_path)

    with pytest.raises(NothingMeasured, match="has no final weights, it is planned; 'ranbench run SUITE' trains it"):
        prober.measure(record, ["responses"])


def test_weights_of_another_net_are_refused(tiny_suite: Path, store: Store, tmp_path: Path) -> None:
    execute(suite(tiny_suite, probed=False), store, tmp_path)
    record = store.runs()[0]
    file = weights(record, store, tmp_path)
    content = save({name: value for name, value in load(file.read_bytes()).items() if "stem" not in name})
    file.write_bytes(content)
    with closing(sqlite3.connect(tmp_path / "results" / "ranbench.db")) as connection:
        connection.execute("UPDATE artefact SET sha256 = ?", [hashlib.sha256(content).hexdigest()])
        connection.commit()

    with pytest.raises(CheckpointError, match="its final weights do not fit the net of this version: ") as refused:
        Prober(store, data=tmp_path, results=tmp_path / "results").measure(record, ["responses"])

    assert "\n" not in str(refused.value)


def test_what_cannot_be_measured_costs_no_finished_run(
    tiny_suite: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NothingMeasured("response_stage1 is inf")

    monkeypatch.setattr("ranbench.probes.stage_responses", fails)
    told = Notes()

    summary = execute(suite(tiny_suite, probed=True), store, tmp_path, told)

    assert (summary.trained, summary.failed, summary.without_probe) == (2, 0, 2)
    assert "responses not measured: response_stage1 is inf; the run is done" in told.notes[0]


def test_a_check_that_a_result_comes_out_again_is_not_measured(tiny_suite: Path, store: Store, tmp_path: Path) -> None:
    execute(suite(tiny_suite, probed=True), store, tmp_path, only={"learning": "naive"})
    (record,) = (found for found in store.runs() if found.counted)

    checked = check(record, store, data=tmp_path / "data", results=tmp_path / "results")

    assert checked.comparison is not None
    assert checked.comparison.answer == "identical"
    assert checked.check.probes == ()
