"""How runs' masks stand in a picture: what is one group, what shares colours, which words say what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranbench.report.mask_plot import Column, Group, Row, mask_grid
from ranbench.report.style import stamped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ranbench.probes import ModuleMasks
    from ranbench.runner import RunMasks

RANGES = {
    "mixed": "mixed attention is a sigmoid, in (0,\u00a01)",
    "channel": "channel attention divides each position by its L2 norm over the channels, in [−1,\u00a01]",
    "spatial": "spatial attention is a sigmoid of each channel's map less its mean, over its deviation, in (0,\u00a01)",
}
_NONE = {"noise": "no noise"}  # what a run is called that has none of it, where others have


def picture(found: Sequence[RunMasks], module: int, channel: int | None) -> Figure:
    """Draw one run's features and masks, or the masks of several side by side."""
    said = [{**words(run), "smoke": "smoke" if run.record.smoke else ""} for run in found]
    title, names = headings(said, [run.record.fingerprint for run in found])
    drawn = mask_grid(
        [Row(_beside(found, at), image.pixels) for at, image in enumerate(found[0].images)],
        _features(found[0], module) if len(found) == 1 else _side_by_side(found, names, module),
        title=f"soft masks: {title}" if title else "soft masks",
        caption=_caption(found, module, channel),
    )
    return stamped(drawn, "SMOKE") if all(run.record.smoke for run in found) else drawn


def shown(run: RunMasks, module: int) -> list[ModuleMasks]:
    """Return the chosen module of every stage that has it."""
    return [one for one in run.masked.modules if one.module == module]


def words(run: RunMasks) -> dict[str, str]:
    """Say what a run is, by what the words tell; without noise there are none for it."""
    spec = run.spec
    options = {key: value if isinstance(value, str) else f"{key} {value}" for key, value in spec.model.options.items()}
    noise = "" if spec.noise is None else f"noise {spec.noise.rate:g}"
    return {"model": spec.model.name, **options, "noise": noise, "seed": f"seed {spec.seed}"}


def headings(said: Sequence[Mapping[str, str]], fingerprints: Sequence[str]) -> tuple[str, list[str]]:
    """Return what all runs have in common, and what tells each from the others: its fingerprint where no word does."""
    keys = dict.fromkeys(key for one in said for key in one)
    differing = [key for key in keys if len({one.get(key) for one in said}) > 1]
    common = [text for key, text in said[0].items() if text and key not in differing]
    names = [", ".join(filter(None, (one[key] or _NONE.get(key) for key in differing if key in one))) for one in said]
    runs = [f"run {fingerprint[:8]}" for fingerprint in fingerprints]
    told = [
        name if name and names.count(name) == 1 else ", ".join(filter(None, (name, run)))
        for name, run in zip(names, runs, strict=True)
    ]
    return ", ".join(common), told


def _features(run: RunMasks, module: int) -> tuple[Group, ...]:
    """Figure 1: for each stage, the features before the mask, the mask, the features after it."""
    return tuple(
        Group(
            f"stage {one.stage}, {one.shape[1]}×{one.shape[2]}",
            (
                Column("before", one.before, f"features {one.stage}", "|T|"),
                Column("soft mask", one.mask, f"mask {one.stage}", "M"),
                Column("after", one.after, f"features {one.stage}", "|H|"),
            ),
        )
        for one in shown(run, module)
    )


def _side_by_side(found: Sequence[RunMasks], names: Sequence[str], module: int) -> tuple[Group, ...]:
    """The masks of each run, stage by stage; those of one kind of attention can be compared."""

    def column(one: ModuleMasks) -> Column:
        return Column(f"stage {one.stage}", one.mask, f"{one.attention} {one.stage}", "M")

    return tuple(
        Group(name, tuple(column(one) for one in shown(run, module))) for run, name in zip(found, names, strict=True)
    )


def _beside(found: Sequence[RunMasks], at: int) -> str:
    image = found[0].images[at]
    lines = [f"image {image.index}", f"class {image.label}"]
    return "\n".join([*lines, f"predicted {found[0].masked.predicted[at]}"] if len(found) == 1 else lines)


def _caption(found: Sequence[RunMasks], module: int, channel: int | None) -> str:
    kinds = dict.fromkeys(one.attention for run in found for one in run.masked.modules)
    many = max(one.module for run in found for one in run.masked.modules)
    which = f"attention module {module} of each stage" if many > 1 else "the attention module of each stage"
    over = "the mean over the channels" if channel is None else f"channel {channel}"
    said = [
        f"M of {which} on test images of {found[0].spec.data.name}, {over}, a square for each position; "
        + "; ".join(RANGES.get(kind, f"{kind} is an activation of its own") for kind in kinds)
    ]
    if len(found) == 1:
        combined = {"residual": "H = (1 + M) * T", "naive": "H = M * T"}.get(str(found[0].spec.model.learning), "H")
        said.append(f"Before and after: |T| and |H|, likewise, where {combined}; both share the colours of one bar")
    elif len(kinds) < len(found):
        said.append("Masks of one stage and one kind of attention share the colours of one bar")
    said.append("Bars reach from the least to the largest value that is shown")
    return ". ".join(said) + "."
