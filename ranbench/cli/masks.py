"""masks: the soft masks of runs' nets over test images, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ranbench.cli.options import Data, Db, Json, Settings, TrustImports, one_of, settings
from ranbench.cli.output import answer, as_json, note, table
from ranbench.cli.run import DEVICES, Device
from ranbench.errors import NothingMeasured, UsageError, one_line

if TYPE_CHECKING:
    from ranbench.records import RunRecord
    from ranbench.runner import RunMasks

FORMATS = (".png", ".svg", ".pdf")
MOST = 12  # runs of a picture


def masks(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="First digits of runs' fingerprints (4 or more).")],
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="N,N",
            help="Numbers of test images, from 0; if left out, the first of each of the first five classes.",
        ),
    ] = None,
    module: Annotated[
        int, typer.Option("--module", metavar="N", help="Which attention module of each stage is shown, from 1.")
    ] = 1,
    channel: Annotated[
        int | None,
        typer.Option("--channel", metavar="N", help="Show one channel, from 0, in place of the mean over them."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Picture, .png, .svg or .pdf; else reports/masks-RUN.png."),
    ] = None,
    device: Device = "auto",
    trust_imports: TrustImports = False,
    json: Json = False,
    db: Db = None,
    data: Data = None,
) -> None:
    """Draw the soft masks of each stage over test images, and print their numbers; several runs stand side by side.

    Figure 1 of the paper shows features before a mask, the mask, and the features after it; for one run, so does this.
    The masks are those of the forward pass, from the final weights. With --json a picture is drawn only into --out.
    Exit 6 if a run is not done, 7 if its weights are missing or damaged.
    """
    one_of("--device", device, DEVICES)
    if out is not None and out.suffix not in FORMATS:
        raise UsageError(f"--out {out}: expected a file name that ends in {', '.join(FORMATS)}")
    chosen = settings(context, db, data)
    found = _taken(chosen, runs, _numbers(images), channel, device, trust_imports)
    _check_module(found, module)
    if out is None and not json:
        out = Path("reports") / f"masks-{'-'.join(run.record.fingerprint[:8] for run in found)}.png"
    if out is not None:
        _draw(found, module, channel, out)
    if json:
        as_json(_as_dict(found, channel))
        return
    for run in found:
        _print(run, module)


def _numbers(texts: Sequence[str] | None) -> list[int] | None:
    """Read ``0,5,17``, each image once.

    Raises:
        UsageError: it has another form.
    """
    if not texts:
        return None
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(
            f"--images {','.join(texts)!r}: expected numbers of test images from 0, with commas between, such as 0,5,17"
        )
    return list(dict.fromkeys(map(int, parts)))


def _taken(
    chosen: Settings, names: Sequence[str], images: list[int] | None, channel: int | None, device: str, trusted: bool
) -> list[RunMasks]:
    if chosen.bundle is not None:
        raise NothingMeasured(
            f"--db {chosen.bundle}: masks are made from final weights in the folder of a database; 'ranbench merge' "
            "adds a bundle to one, with the weights where it was made by 'export --weights'"
        )
    with chosen.store(create=False) as store:
        records: dict[str, RunRecord] = {}
        for name in names:
            record = store.find(name)
            records[record.fingerprint] = record
        if len(records) > MOST:
            raise UsageError(f"{len(records)} runs: at most {MOST} fit into a picture")
        from ranbench.runner import masks_of

        return masks_of(
            list(records.values()),
            store,
            data=chosen.data,
            results=chosen.results,
            images=images,
            channel=channel,
            device=device,
            trust_imports=trusted,
        )


def _check_module(found: Sequence[RunMasks], module: int) -> None:
    for run in found:
        most = max(one.module for one in run.masked.modules)
        if not 1 <= module <= most:
            raise UsageError(
                f"--module {module}: run {run.record.fingerprint[:12]} has at most {most} in a stage "
                f"(allowed: {'1' if most == 1 else f'1 to {most}'})"
            )


def _print(run: RunMasks, module: int) -> None:
    from ranbench.cli.mask_picture import shown, words

    smoke = " (smoke: the numbers mean nothing)" if run.record.smoke else ""
    answer(f"run {run.record.fingerprint[:12]}, {', '.join(filter(None, words(run).values()))}{smoke}")
    rows = [
        (
            image.index,
            image.label,
            predicted,
            f"{one.stage}",
            *(f"{value:.3f}" for value in (number.mean, number.sd, number.low, number.high)),
            f"{100 * number.share_above:.1f} %",
        )
        for at, (image, predicted) in enumerate(zip(run.images, run.masked.predicted, strict=True))
        for one in shown(run, module)
        for number in [one.numbers[at]]
    ]
    middles = {f"{one.middle:g}" for one in shown(run, module)}
    above = f"above {middles.pop()}" if len(middles) == 1 else "above the middle"
    columns = ("image", "class", "predicted", "stage", "mean", "sd", "min", "max", above)
    table(columns, rows, right=columns)


def _as_dict(found: Sequence[RunMasks], channel: int | None) -> dict[str, Any]:
    return {
        "dataset": found[0].spec.data.name,
        "images": [{"index": image.index, "label": image.label} for image in found[0].images],
        "channel": channel,
        "runs": [
            {
                "run": run.record.fingerprint,
                "attempt": run.record.counted.number if run.record.counted else None,
                "smoke": run.record.smoke,
                "code_id": run.code_id,
                "device": run.device,
                "predicted": run.masked.predicted,
                "masks": [
                    {
                        "stage": one.stage,
                        "module": one.module,
                        "image": image.index,
                        "attention": one.attention,
                        **dict(zip(("channels", "height", "width"), one.shape, strict=True)),
                        "mean": number.mean,
                        "sd": number.sd,
                        "min": number.low,
                        "max": number.high,
                        "middle": one.middle,
                        "share_above_middle": number.share_above,
                        "map_min": float(drawn.min()),
                        "map_max": float(drawn.max()),
                    }
                    for one in run.masked.modules
                    for image, number, drawn in zip(run.images, one.numbers, one.mask, strict=True)
                ],
            }
            for run in found
        ],
    }


def _draw(found: Sequence[RunMasks], module: int, channel: int | None, out: Path) -> None:
    from ranbench.cli.mask_picture import picture
    from ranbench.report.style import pdf, png, svg

    figure = picture(found, module, channel)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes({".png": png, ".svg": lambda made: svg(made).encode(), ".pdf": pdf}[out.suffix](figure))
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {one_line(error)}") from None
    note(f"drawn into {out}")
