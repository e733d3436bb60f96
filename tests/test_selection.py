"""Runs chosen by conditions: which keys there are, what they match, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
from test_comparability import attempt, record
from test_spec import run_spec
from test_store import HERE

from ranbench.errors import UsageError
from ranbench.records import METRICS, SERIES, Reason, RunRecord, State
from ranbench.selection import select
from ranbench.spec import RunSpec, spec_fields

RESIDUAL = run_spec(seed=0)
NAIVE = run_spec(seed=1, model__learning="naive", noise={"rate": 0.1})
SMOKE = run_spec(seed=2, protocol__evaluation__images=512, protocol__augmentation__mean="none")
PLANNED = run_spec(seed=3)
RECORDS = [
    dataclasses.replace(record(RESIDUAL), suites=("table3", "table4")),
    record(
        NAIVE,
        attempt(NAIVE, state=State.FAILED, reason=Reason.DIVERGED),
        attempt(NAIVE, metrics={"error_pct": 7.5}, code_id="b" * 64),
    ),
    record(
        SMOKE,
        attempt(
            SMOKE,
            state=State.FAILED,
            reason=Reason.TIMEOUT,
            metrics={},
            environment=dataclasses.replace(HERE, device="cuda"),
        ),
    ),
    RunRecord(PLANNED.fingerprint, PLANNED.cell_id, 3, PLANNED.model_dump(mode="json"), ()),
]


def seeds(*where: str) -> list[int]:
    return [found.seed for found in select(RECORDS, where, lambda found: found.state)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("model=attention-56", [0, 1, 2, 3]),
        ("learning=naive", [1]),
        ("model.learning!=naive", [0, 2, 3]),
        ("model.options.learning=naive", [1]),
        ("data.name=cifar10", [0, 1, 2, 3]),
        ("dataset!=cifar10", []),
        ("seed>=2", [2, 3]),
        ("seed<1", [0]),
        ("seed != 0", [1, 2, 3]),
        ("state=done", [0, 1]),
        ("state!=done", [2, 3]),
        ("reason=timeout", [2]),
        ("reason=none", [0, 1, 3]),
        ("suite=table4", [0]),
        ("suite!=table4", [1, 2, 3]),
        ("noise=0.1", [1]),
        ("noise=none", [0, 2, 3]),
        ("noise!=0.1", [0, 2, 3]),
        ("noise>0", [1]),
        ("protocol.iterations=160,000", [0, 1, 2, 3]),
        ("protocol.evaluation.images<=512", [2]),
        ("protocol.augmentation.mean=none", [2]),
        ("protocol.optimizer.nesterov=true", [0, 1, 2, 3]),
        ("protocol.schedule.kind=cosine", []),
        ("error_pct<6", [0]),
        ("error_pct!=5", [1]),
        ("device=cuda", [2]),
        ("device=none", [3]),
        ("code=bbbb", [1]),
        ("code!=bbbb", [0, 2, 3]),
        (f"cell={RESIDUAL.cell_id[:8]}", [0, 3]),
        ("fidelity=smoke", [2]),
        ("fidelity!=smoke", [0, 1, 3]),
    ],
)
def test_a_condition_chooses_the_runs_of_which_it_holds(where: str, expected: list[int]) -> None:
    assert seeds(where) == expected


def test_all_conditions_must_hold() -> None:
    assert seeds("state=done", "error_pct>6", "learning=naive") == [1]
    assert seeds() == [0, 1, 2, 3]


@pytest.mark.parametrize("path", spec_fields(RunSpec))
def test_every_field_of_a_spec_is_a_key(path: str) -> None:
    field = spec_fields(RunSpec)[path]
    value = {"number": "1", "truth": "true", "list": "1", "text": (field.allowed or ("x",))[0]}[field.kind]

    if field.kind == "list":
        with pytest.raises(UsageError, match="is a list, which cannot be compared"):
            seeds(f"{path}={value}")
    else:
        seeds(f"{path}={value}", f"{path}!={value}")


def test_every_final_metric_is_a_key_and_no_series_is() -> None:
    seeds(*(f"{name}>0" for name in METRICS if name not in SERIES))

    for name in SERIES:
        with pytest.raises(UsageError, match=f"--where {name}: unknown key"):
            seeds(f"{name}>0")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("modle=x", "--where modle: unknown key; did you mean 'model'? (allowed: model, learning, attention, "),
        ("itertions=6", "--where itertions: unknown key; did you mean 'protocol.iterations'? (allowed: "),
        ("protocol.itertions=6", "; did you mean 'protocol.iterations'? (allowed: "),
        ("host=me", "--where host: unknown key"),
        ("model", "--where 'model': expected KEY=VALUE (or !=, and <, <=, >, >= for numbers), for instance model="),
        ("=x", "--where '=x': expected KEY=VALUE"),
        ("model=", "--where 'model=': expected KEY=VALUE"),
        ("model<x", "--where model<x: model is no number, so only = and != compare it"),
        ("seed=one", "--where seed=one: 'one' is not a number"),
        ("error_pct<none", "--where error_pct<none: 'none' is not a number"),
        ("state=doen", "--where state=doen: 'doen' is not known; did you mean 'done'? (allowed: planned, running, "),
        ("reason=bad", "'bad' is not known (allowed: diverged, out_of_memory, timeout, error)"),
        ("protocol.precision=fp8", "'fp8' is not known (allowed: float32, tf32, bf16)"),
        ("protocol.optimizer.nesterov=1", "'1' is not known (allowed: true, false)"),
        ("protocol.schedule.drops=1", "protocol.schedule.drops is a list, which cannot be compared"),
        ("fidelity=full", "(allowed: smoke; full and scaled depend on a suite's reference, see 'ranbench report')"),
    ],
)
def test_a_condition_that_cannot_be_carried_out_is_one_line(where: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        seeds(where)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
