"""response: how large the features of a run's net are, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Data, Db, Json, Settings, TrustImports, settings
from ranbench.cli.output import answer, as_json, note, table
from ranbench.cli.run import DEVICES, Device
from ranbench.errors import NothingMeasured, UsageError, one_line

if TYPE_CHECKING:
    from ranbench.records import Probe, RunRecord

KIND = "responses"


def response(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="First digits of a run's fingerprint (4 or more).")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="Also draw them into a file.")] = None,
    device: Device = "auto",
    trust_imports: TrustImports = False,
    json: Json = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Print the mean absolute response of a run's net by stage; measure it from the final weights where it was not yet.

    Figure 4 of the paper shows it divided by that of the first stage. Exit 6 if the run is not done, 7 if its weights
    are missing or damaged.
    """
    if device not in DEVICES:
        raise UsageError(f"--device {device!r}: not known (allowed: {', '.join(DEVICES)})")
    if out is not None and out.suffix != ".png":
        raise UsageError(f"--out {out}: expected a file name that ends in .png")
    chosen = settings(context, db, data)
    record = _measured(chosen, run, device, trust_imports=trust_imports)
    assert record.counted is not None
    probe = record.counted.probe(KIND)
    assert probe is not None
    if out is not None:
        _draw(record, probe, out)
    if json:
        as_json(_as_dict(record, probe))
        return
    rows = [
        (f"stage {stage}" + ("" if module is None else f", module {module}"), value, relative)
        for stage, module, value, relative in _values(probe)
    ]
    shown = [(place, f"{value:.4g}", "" if relative is None else f"{relative:.3f}") for place, value, relative in rows]
    smoke = " (smoke: the numbers mean nothing)" if record.smoke else ""
    answer(f"run {record.fingerprint[:12]}, {_label(record)}{smoke}")
    table(
        ("after", "mean absolute response", "relative to stage 1"),
        shown,
        right=("mean absolute response", "relative to stage 1"),
    )


def _measured(chosen: Settings, run: str, device: str, *, trust_imports: bool) -> RunRecord:
    """Find the run; measure its weights where they were not yet."""
    with chosen.store(create=False) as store:
        record = store.find(run)
        if record.counted is not None and record.counted.probe(KIND) is not None:
            return record
        if chosen.bundle is not None:
            raise NothingMeasured(
                f"--db {chosen.bundle}: no responses of run {record.fingerprint[:12]} are in it, and a bundle is only "
                "read; 'ranbench merge' adds it to a database"
            )
        from ranbench.runner import Prober

        prober = Prober(store, data=chosen.data, results=chosen.results, device=device, trust_imports=trust_imports)
        prober.measure(record, [KIND])
        return store.find(record.fingerprint)


def _values(probe: Probe) -> list[tuple[int, int | None, float, float | None]]:
    """Stage, module, response and relative response, in the order of the net."""
    from ranbench.records import response_place

    found = {place: name for name in probe.values if (place := response_place(name)) is not None}
    ordered = sorted(found, key=lambda place: (place[0], place[1] is None, place[1] or 0))
    values = probe.values
    return [(*place, values[found[place]], values.get(f"{found[place]}_relative")) for place in ordered]


def _as_dict(record: RunRecord, probe: Probe) -> dict[str, Any]:
    assert record.counted is not None
    names = ("stage", "module", "response", "relative")
    return {
        "run": record.fingerprint,
        "attempt": record.counted.number,
        "smoke": record.smoke,
        "responses": [dict(zip(names, row, strict=True)) for row in _values(probe)],
        "code_id": probe.code_id,
        "measured": probe.measured,
        "device": probe.environment.device,
    }


def _draw(record: RunRecord, probe: Probe, out: Path) -> None:
    from ranbench.report.response_plot import Spread, Trace, stage_lines
    from ranbench.report.responses import along
    from ranbench.report.style import png

    rows = _values(probe)
    places = along([(stage, module) for stage, module, _, _ in rows])
    line = list(zip(places, rows, strict=True))
    trace = Trace(
        _label(record),
        0,
        relative=tuple(Spread(at, row[3], row[3], row[3]) for at, row in line if row[3] is not None),
        absolute=tuple(Spread(at, row[2], row[2], row[2]) for at, row in line),
    )
    figure = stage_lines([trace], num_stages=rows[-1][0], label=", smoke" if record.smoke else "")
    try:
        out.write_bytes(png(figure))
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
    note(f"drawn into {out}")


def _label(record: RunRecord) -> str:
    model = record.spec["model"]
    named = [str(model[key]) for key in ("name", "learning") if model.get(key) is not None]
    return f"{', '.join(named)}, seed {record.seed}"
