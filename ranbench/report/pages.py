"""One suite's report as a markdown page: its words and their order. What stands in it is made in ``tables``."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from ranbench.counts import PASSES_OF_A_STEP
from ranbench.records import ALL_METRICS, METRICS, SIZE_METRICS, Metric
from ranbench.report import markdown
from ranbench.report.against import OURS
from ranbench.report.layout import (
    MARKS,
    Entry,
    Grid,
    beside_grid,
    cost_grid,
    cost_place,
    environment_grid,
    member_words,
    memorised_grid,
    one_line,
    response_grid,
    result_grid,
    run_grid,
    set_grid,
    size_grid,
    typeset,
    verdict_grid,
    verdict_mark,
)
from ranbench.report.notes import seeds
from ranbench.report.shown import Picture
from ranbench.report.tables import BEST, RESULT, WRONG_LABELS
from ranbench.report.values import CitedRow, Section, Tables, VerdictRow
from ranbench.spec import Protocol
from ranbench.suite import (
    Cell,
    Claim,
    Counted,
    Ratio,
    Suite,
    Trend,
    Value,
    count_words,
    protocol_options,
    shipped_suites,
)

Filters: TypeAlias = dict[str, Callable[[Any], str]]
FETCHED = ("cifar10", "cifar100", "imagenet")  # datasets that the package does not hold and can fetch or unpack
_SAMPLING = re.compile(r"the [\d, or]+ test images alone, whatever the seeds, leave ")
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class SectionGrids:
    """A further protocol's heading, words and tables."""

    heading: str
    fidelity: str
    differences: str
    results: Grid
    notes: tuple[str, ...]
    runs: Grid


def page(suite: Suite, built: Tables, pictures: Sequence[Picture], *, compare: bool = True) -> str:
    """Render the page of ``built`` as markdown."""
    escaping = {"text": markdown.text, "paragraph": markdown.paragraph, "code": markdown.code}
    filters: Filters = {**escaping, "table": markdown.table}
    return rendered(content(suite, built, pictures, compare=compare), filters)


def rendered(
    values: Mapping[str, Any],
    filters: Filters,
    finalize: Callable[[Any], Any] | None = None,
) -> str:
    """Fill the template of the page: every value passes one of ``filters``, which escape, then ``finalize``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    engine.filters |= {"seeds": seeds, "member": member_words, "typeset": typeset, **filters}
    return engine.get_template("report.md.j2").render(values)


def content(suite: Suite, built: Tables, pictures: Sequence[Picture], *, compare: bool) -> dict[str, Any]:
    """Return what the template names: words, values and tables that are laid out."""
    labels = [results.metric for results in built.results]
    untouched = suite.trains and not built.environments
    prefix = "cell" if built.runs and not untouched else None  # without rows of runs there is nothing to lead to
    told, sampling = _sampling_once([row for row in built.verdicts if not _is_said_by_the_table(row)])
    return {
        "suite": suite,
        "built": built,
        "compare": compare,
        "source": _source(suite),
        "beside": _beside(suite),
        "name": page_name(suite),
        "elsewhere": [_elsewhere(suite, section, compare=compare) for section in built.others],
        "datasets": built.datasets,
        "outcomes": _outcomes(built),
        "late": sum(row.declared_after is not None for row in built.verdicts),
        "marks": MARKS,
        "verdicts": verdict_grid(
            built.verdicts,
            [one.id for one in suite.claims if isinstance(one, Ratio) and one.side == "at least"],
            _arms(suite),
            prefix,
        ),
        "results": [
            (
                METRICS[results.metric],
                results,
                result_grid(results, prefix, marks=_marks(suite, built, results.metric), source=_beside(suite)),
            )
            for results in built.results
        ],
        "published": any(row.published is not None for results in built.results for row in results.rows),
        "sizes": size_grid(built.sizes, prefix, with_code=_has_own_code(suite)),
        "own_code": _has_own_code(suite),
        "own_files": any(cell.model.factory or cell.data.factory for cell in suite.cells) and len(suite.cells) > 1,
        "untouched": untouched,
        "beside_words": _beside_words(built),
        "counted_on": _counted_on(built),
        "counted_how": _counted_how(built),
        "none_counted": all(row.source != "counted" for row in built.sizes),
        "told": told,
        "sampling": sampling,
        "held": _held(built),
        "responses": response_grid(built.responses, prefix) if built.responses else None,
        "published_responses": any(row.published is not None for row in built.responses),
        "memorised": memorised_grid(built.memorised, prefix) if built.memorised else None,
        "anew": any(row.axes.get("noise_drawn") == "each-epoch" for row in built.memorised),
        "cited": [(row, _cited(row)) for row in built.cited],
        "runs": run_grid(built, built.runs, _raw_metrics(built, labels)) if built.runs else None,
        "pictures": pictures,
        "costs": cost_grid(built.costs),
        "energy": any(row.energy_joules is not None for row in built.costs),
        "cost_places": list(dict.fromkeys(cost_place(row.environment) for row in built.costs if row.environment)),
        "others_beside": [one.name for one in built.sets if one.name != OURS],
        "passes": PASSES_OF_A_STEP,
        "environments": environment_grid(built.environments),
        "others": [_section(built, section, index) for index, section in enumerate(built.others, 1)],
        "sets": set_grid(built.sets),
        "against": _against(built, prefix),
        "commands": commands(suite, built, compare=compare),
    }


def _beside_words(built: Tables) -> list[dict[str, str]]:
    """Say at the head of a page what the comparison with each other set of results comes to."""
    found = []
    for name in dict.fromkeys(row.name for row in built.against):
        rows = [row for row in built.against if (row.name, row.metric) == (name, RESULT)]
        tested, differ = [row for row in rows if row.p is not None], [row for row in rows if row.answer == "yes"]
        cells = f"{len(tested)} of {len(rows)} {'cell' if len(rows) == 1 else 'cells'} can be compared"
        differing = f"; in test error {len(differ) or 'none'} of them {'differ' if len(differ) > 1 else 'differs'}"
        found.append({"name": name, "said": f"{cells}{differing if tested else ''}"})
    return found


def _arms(suite: Suite) -> dict[str, tuple[int, ...]]:
    """The numbers of the cells that stand against each other in each claim, in the order of its arms."""
    numbers = {id(cell): number for number, cell in enumerate(suite.cells, 1)}
    return {claim.id: tuple(numbers[id(cell)] for cell in _cells(claim)) for claim in suite.claims}


def _cells(claim: Claim) -> tuple[Cell, ...]:
    if isinstance(claim, Value | Counted):
        return (claim.cell,)
    if isinstance(claim, Trend):
        return (*claim.cells, *claim.minus)
    return tuple(cell for pair in claim.pairs for cell in (pair.a, pair.b))


def _against(built: Tables, prefix: str | None) -> list[tuple[Metric, Grid]]:
    names = dict.fromkeys(row.metric for row in built.against)
    rows = {name: [row for row in built.against if row.metric == name] for name in names}
    return [(METRICS[name], beside_grid(rows[name], METRICS[name].unit, prefix)) for name in names]


def _marks(suite: Suite, built: Tables, metric: str) -> dict[int, Entry]:
    """Return the verdicts on values of this metric, by the number of the cell."""
    verdicts = {row.id: row for row in built.verdicts}
    claims = [claim for claim in suite.claims if isinstance(claim, Value) and claim.metric == metric]
    return {
        suite.cells.index(claim.cell) + 1: verdict_mark(verdicts[claim.id]) for claim in claims if claim.id in verdicts
    }


def page_name(suite: Suite) -> str:
    """Name the files of a page: by the suite, and by the protocol where it is another than the suite's own.

    So a page of smoke runs does not take the place of the page of the suite. No name of a suite has a dot in it.
    """
    words = shlex.split(suite.options)
    chosen = dict(zip(words[::2], words[1::2], strict=True))
    if not {"--protocol", "--factor"} & chosen.keys():
        return suite.name
    factor = f"-{chosen['--factor']}" if "--factor" in chosen else ""
    return f"{suite.name}.{suite.protocol_name}{factor}"


def _elsewhere(suite: Suite, section: Section, *, compare: bool) -> dict[str, str | None]:
    """Say at the head of a page which runs of another protocol there are, and how to see them by themselves."""
    count, states = len(section.runs), Counter(run.state for run in section.runs)
    known = ", ".join(f"{'all' if number == count > 1 else number} {state}" for state, number in states.items())
    cells = [suite.cells[row.cell - 1] for row in section.results.rows]
    options = protocol_options(suite, section.protocol, cells)
    command = None if options is None else f"ranbench report {_argument(suite)}{options}"
    return {
        "runs": f"{count} {section.fidelity} {'run' if count == 1 else 'runs'} ({known})",
        "protocol": protocol_words(section.protocol),
        "stand": "stands" if count == 1 else "stand",
        "enter": "enters" if count == 1 else "enter",
        "command": f"{command}{' --compare' if compare else ''}" if command else None,
    }


def _raw_metrics(built: Tables, metrics: Sequence[str]) -> tuple[str, ...]:
    """The columns of raw values: the metrics of the results tables, with best-on-test and wrong labels."""
    noisy = [WRONG_LABELS] if any(row.wrong_labels for row in built.results[0].rows) else []
    staged = [row.metric for row in built.responses if row.module is None]
    return tuple(dict.fromkeys((RESULT, BEST, *noisy, *metrics, *staged)))


def _section(built: Tables, section: Section, index: int) -> SectionGrids:
    prefix = f"other-{index}-cell"
    return SectionGrids(
        heading=f"{section.fidelity}: {protocol_words(section.protocol)}",
        fidelity=section.fidelity,
        differences="; ".join(section.differences),
        results=result_grid(section.results, prefix),
        notes=section.results.notes,
        runs=run_grid(built, section.runs, (RESULT, BEST), prefix),
    )


def protocol_words(protocol: Protocol) -> str:
    """Name a protocol, whose name is not recorded, by its length and evaluation."""
    part = protocol.evaluation.images
    tested = "all test images" if part is None else f"the first {part:,} test images"
    return f"{protocol.length}, evaluated on {tested}"


def _cited(row: CitedRow) -> str:
    """Say a cited number: ``test error 4.64 %``, ``10.3 million parameters``."""
    if row.metric in SIZE_METRICS:
        return f"{count_words(row.value)} {row.unit}"
    metric = ALL_METRICS[row.metric]
    return f"{metric.label} {row.value:g} {'%' if row.unit == 'percent' else row.unit}"


def _outcomes(built: Tables) -> list[tuple[str, int]]:
    counted: Mapping[str, int] = {name: sum(row.outcome == name for row in built.verdicts) for name in MARKS}
    return [(name, count) for name, count in counted.items() if count]


def _counted_on(built: Tables) -> str:
    """Name the images of the counted nets: ``cifar10 (32x32) and cifar100 (32x32)``, ``imagenet (224x224)``."""
    sides: dict[str, dict[str, None]] = {}
    for row in built.sizes:
        sides.setdefault(row.dataset, {})["x".join(map(str, row.shape[1:]))] = None
    return " and ".join(f"{name} ({', '.join(found)})" for name, found in sides.items())


def _counted_how(built: Tables) -> str:
    """Say how many nets were counted, and where the counts of the others come from."""
    numbers = Counter(row.source for row in built.sizes)
    if numbers["counted"] == len(built.sizes):
        return ", counted exactly"
    parts = (
        (numbers["counted"], "counted exactly"),
        (numbers["stored"], "by the package's stored counts"),
        (numbers[None], "not counted"),
    )
    return ": " + ", ".join(f"{number} {words}" for number, words in parts if number)


def _has_own_code(suite: Suite) -> bool:
    """Tell whether a net is a user's own, whose code may change without a new version of ranbench."""
    return any(cell.model.factory for cell in suite.cells)


def _is_said_by_the_table(row: VerdictRow) -> bool:
    """Tell whether a verdict needs no sentence: an exact count that holds."""
    return row.kind == "complexity" and row.outcome == "reproduced"


def _sampling_once(rows: Sequence[VerdictRow]) -> tuple[list[VerdictRow], list[str]]:
    """Take what the test images alone leave open out of the claims where several say it, to be said once."""
    besides = [(row.beside, *(member.beside for member in row.members)) for row in rows]
    if sum(any(one.sampling for one in some) for some in besides) < 2:
        return list(rows), []
    found: dict[int, dict[str, None]] = {}
    for one in (one for some in besides for one in some):
        for cell in one.sampling:
            found.setdefault(cell.images, {})[f"{cell.label} at {cell.low:.2f} to {cell.high:.2f}"] = None
    said = [
        f"The {images:,} test images alone, whatever the seeds, leave the error of a cell open within (95 % binomial "
        f"intervals, in percent): {'; '.join(cells)}."
        for images, cells in found.items()
    ]
    return [_without_sampling(row) for row in rows], said


def _without_sampling(row: VerdictRow) -> VerdictRow:
    def kept(lines: Sequence[str]) -> tuple[str, ...]:
        return tuple(line for line in lines if not _SAMPLING.match(line))

    members = tuple(replace(one, beside=replace(one.beside, lines=kept(one.beside.lines))) for one in row.members)
    return replace(row, lines=kept(row.lines), members=members)


def _held(built: Tables) -> list[tuple[str, list[str]]]:
    """The claims whose sentence is left out, by their tolerance in words."""
    found: dict[float, list[str]] = {}
    for row in built.verdicts:
        if _is_said_by_the_table(row):
            found.setdefault(row.threshold, []).append(row.id)
    within = {tolerance: f"within {tolerance:g} % of the" if tolerance else "exactly the" for tolerance in found}
    return [(f"{within[tolerance]} printed number", ids) for tolerance, ids in found.items()]


def _source(suite: Suite) -> str:
    """Say where the paper's numbers stand: ``arXiv 1704.06904, table 3``."""
    if suite.paper is None:
        return ""
    places = [("table", suite.paper.table), ("figure", suite.paper.figure)]
    return ", ".join([f"arXiv {suite.paper.arxiv}", *(f"{kind} {n}" for kind, n in places if n is not None)])


def _beside(suite: Suite) -> str:
    """Name what the values beside ours are of: a suite without a paper states some of its own."""
    return "paper" if suite.paper else "published"


def commands(suite: Suite, built: Tables, *, compare: bool) -> tuple[str, ...]:
    """The commands that make this report again."""
    named = _argument(suite)
    report = f"ranbench report {named}{suite.options}{' --compare' if compare else ''}"
    report += "".join(f" --against {shlex.quote(one_line(one.name))}" for one in built.sets if one.name != OURS)
    own = any(cell.model.factory or cell.data.factory for cell in suite.cells)
    trust = " --trust-imports" if own else ""
    fetched = dict.fromkeys(cell.data.name for cell in suite.cells if suite.trains and cell.data.name in FETCHED)
    return (*(f"ranbench data fetch {name}" for name in fetched), f"ranbench run {named}{suite.options}{trust}", report)


def _argument(suite: Suite) -> str:
    """Name a suite on a command line; one outside the working folder is named without its folder."""
    path = Path(suite.file)
    if path.is_absolute():
        installed = path.parent.resolve() == shipped_suites().resolve()
        argument = suite.name if installed else f"{suite.name}.yaml"
    else:
        argument = path.as_posix()
    return shlex.quote(one_line(argument))
