"""A profile of a run's steps in files, taken before it is trained, on a net of its own: the run knows nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_foreign
from ranbench.errors import one_line
from ranbench.spec import RunSpec

if TYPE_CHECKING:
    from ranbench.data import Images
    from ranbench.runner.attempt import Place
    from ranbench.training.profile import Profile

FOLDER = "profiles"
SHOWN = 30  # operators


def write_profile(place: Place, spec: RunSpec, images: Images) -> None:
    """Measure some steps of a run and write ``profiles/FINGERPRINT.txt`` and the trace beside it, ``.json``.

    A net that cannot be measured, and a disk that cannot be written, are told and keep no run from being trained.
    """
    folder = place.results / FOLDER
    text, trace = (folder / f"{spec.fingerprint[:12]}{suffix}" for suffix in (".txt", ".json"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = _measured(place, spec, images, trace)
        text.write_text(as_text(found, spec), encoding="utf-8")
    except Exception as error:  # of any kind: the run itself meets the same, and records it
        place.observer.note(f"no profile of run {spec.fingerprint[:12]}: {one_line(error)}")
        return
    rate = found.batch / found.seconds
    place.observer.note(f"profile of run {spec.fingerprint[:12]}: {rate:,.0f} images/s; {text}, and as a trace {trace}")


def _measured(place: Place, spec: RunSpec, images: Images, trace: Path) -> Profile:
    import torch

    from ranbench.data.streams import global_stream
    from ranbench.models import build
    from ranbench.training import EnginePath, Training
    from ranbench.training.profile import measurable, profile

    torch.set_num_threads(place.environment.threads)
    model, form = spec.model, spec.data.info.form
    with global_stream(spec.seed, "init"):
        net = build(
            model.name, model.options, images.shape, images.num_classes, form=form, trusted=place.how.trust_imports
        )
    training = Training(
        net,
        images,
        images.train_labels,
        measurable(spec.protocol),
        seed=spec.seed,
        device=place.device,
        foreign=is_foreign(model.name),
        path=EnginePath.parse(place.environment.engine_path).shared(1),
    )
    return profile(training, trace=trace)


def as_text(found: Profile, spec: RunSpec) -> str:
    """Lay a profile out: the step, its parts, and the operators with most time."""
    device = found.device != "cpu"
    head = [
        f"run {spec.fingerprint}",
        f"{spec.model.name}, batch {found.batch:g}, on {found.device} with {found.threads} threads",
        f"step: {found.seconds * 1e3:.3f} ms, {found.batch / found.seconds:,.0f} images/s; "
        f"under the profiler {found.profiled_seconds * 1e3:.3f} ms (means of {found.steps} steps)",
        "",
        "What follows is of one step under the profiler. ms: of the host; a part holds all that it calls, an operator",
        "only itself." + (" device: of the kernels that were started there." if device else ""),
        "",
    ]
    whole = found.profiled_seconds
    parts = [
        (part.name, f"{part.seconds * 1e3:.3f}", f"{part.seconds / whole:.1%}", *_device(part.device_seconds))
        for part in found.parts
    ]
    operators = [
        (
            one.name,
            f"{one.seconds * 1e3:.3f}",
            f"{one.seconds / whole:.1%}",
            *_device(one.device_seconds),
            f"{one.calls:g}",
        )
        for one in found.operators[:SHOWN]
    ]
    columns = ("ms", "share", *(("device ms",) if device else ()))
    lines = [*head, *_table(("part", *columns), parts), "", *_table(("operator", *columns, "calls"), operators)]
    more = len(found.operators) - SHOWN
    if more > 0:
        lines.append(f"and {more} operators with less")
    return "\n".join(lines) + "\n"


def _device(seconds: float | None) -> tuple[str, ...]:
    return () if seconds is None else (f"{seconds * 1e3:.3f}",)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of aligned columns, the first to the left."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    return [
        "  ".join(text.rjust(width) if index else text.ljust(width) for index, (text, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in (columns, *rows))
    ]
