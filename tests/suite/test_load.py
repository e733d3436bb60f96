"""Loading suites: arguments and options, what a good file resolves to, and what a damaged one cannot do."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranbench.errors import SuiteError, UsageError
from ranbench.spec import Protocol, Steps, WarmUp
from ranbench.suite import (
    Suite,
    find_suite,
    load_protocol,
    load_suite,
    protocol_files,
    protocol_options,
    shipped_suites,
)
from ranbench.suite.form import ReducedEvaluation, Reduction
from ranbench.suite.reduction import reduced

PROTOCOLS = "(allowed: cifar-paper, cifar-resnet, cifar-scaled, digits, imagenet-paper, smoke, tiny)"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("no.yaml", "no.yaml: no such file (allowed: a file, or "),
        ("suites/tabel3.yaml", "suites/tabel3.yaml: no such file; did you mean 'table3'? (allowed: a file, or "),
        (
            "nowhere/table3.yaml",
            "nowhere/table3.yaml: no such file; the suite of this name is called by it alone: 'table3'",
        ),
        ("quickstrat", "suite 'quickstrat' is not known; did you mean 'quickstart'? (allowed: a file, or "),
        ("a\0b", "a\\x00b: cannot be read: embedded null byte"),
        ("", "the name of the suite is empty; expected a file or a name"),
        ("x" * 5000, "suite 'xxx"),
    ],
)
def test_an_argument_that_means_no_suite_is_refused_on_one_line(argument: str, message: str) -> None:
    with pytest.raises(SuiteError) as refused:
        load_suite(argument)

    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds 0: must be between 1 and 1000"),
        ({"seeds": 1001}, "--seeds 1001: must be between 1 and 1000"),
        ({"protocol": "smok"}, f"--protocol: protocol 'smok' is not known; did you mean 'smoke'? {PROTOCOLS}"),
        ({"protocol": "../x"}, f"--protocol: protocol '../x' is not known {PROTOCOLS}"),
        ({"factor": 0.0}, "--factor 0: must be above 0 and below 1"),
        ({"factor": 1.0}, "--factor 1: must be above 0 and below 1"),
        ({"factor": math.nan}, "--factor nan: must be above 0 and below 1"),
        ({"factor": math.inf}, "--factor inf: must be above 0 and below 1"),
        ({"factor": 0.5}, "--factor: protocol 'tiny' takes no factor (those that do: cifar-scaled)"),
        (
            {"protocol": "smoke", "factor": 0.5},
            "--factor: protocol 'smoke' takes no factor (those that do: cifar-scaled)",
        ),
        (
            {"protocol": "cifar-scaled", "factor": 0.01},
            "--factor: factor 0.01 leaves none of 6 iterations; use a larger one",
        ),
        (
            {"protocol": "imagenet-paper"},
            "--protocol: 'imagenet-paper' does not fit: augmentation.colour pca needs images of three channels, and "
            "those of 'digits' have 1",
        ),
    ],
)
def test_an_option_that_cannot_be_carried_out_is_refused(
    tiny_suite: Path, options: dict[str, str | float], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load_suite(tiny_suite, **options)  # type: ignore[arg-type]

    assert str(refused.value) == message
    assert refused.value.exit_code == 2


def test_a_name_is_looked_up_in_the_current_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "quickstart.yaml").touch()
    monkeypatch.chdir(tmp_path)

    assert find_suite("quickstart") == Path("suites/quickstart.yaml")
    assert find_suite("table3") == shipped_suites() / "table3.yaml"


def test_a_suites_own_protocol_is_preferred_to_the_packages(tiny_suite: Path) -> None:
    own = tiny_suite.parent / "protocols"
    shutil.copy(own / "tiny.yaml", own / "digits.yaml")

    files = protocol_files(tiny_suite.parent)

    assert files["digits"] == own / "digits.yaml"
    assert files["smoke"] == shipped_suites() / "protocols" / "smoke.yaml"
    assert load_suite(tiny_suite, protocol="digits").protocol == load_protocol(own / "tiny.yaml")


def test_smoke_scales_the_drops_of_the_paper() -> None:
    smoke = load_suite("table3", protocol="smoke").protocol

    assert smoke.model_dump(include={"iterations", "schedule", "evaluation"}) == {
        "iterations": 8,
        "schedule": {"kind": "steps", "lr": 0.1, "drops": (3, 5), "factor": 0.1, "warm_up": None},
        "evaluation": {"every": 8, "images": 512, "resize": None, "crop": None},
    }


# Factor -> iterations, drops, warm-up and interval of evaluation (ten evaluations at most), of 160,000 iterations.
SCALED: tuple[tuple[float, int, tuple[int, int], int, int], ...] = (
    (0.5, 80_000, (32_000, 48_000), 200, 8_000),
    (0.1, 16_000, (6_400, 9_600), 40, 1_600),
    (0.03, 4_800, (1_920, 2_880), 12, 480),
    (0.0125, 2_000, (800, 1_200), 5, 200),
    (0.001, 160, (64, 96), 1, 16),
    (0.0001, 16, (6, 10), 1, 2),
)


@pytest.mark.parametrize(("factor", "iterations", "drops", "warm_up", "every"), SCALED)
def test_a_factor_scales_every_number_of_iterations(
    factor: float, iterations: int, drops: tuple[int, int], warm_up: int, every: int
) -> None:
    reference = load_suite("table3").reference
    warmed = reference.schedule.model_copy(update={"warm_up": WarmUp(iterations=400, start=0.1)})
    reference = reference.model_copy(update={"schedule": warmed})

    scaled = reduced(reference, Reduction(of="reference", factor=0.5), factor)

    assert scaled == reference.model_copy(
        update={
            "iterations": iterations,
            "schedule": warmed.model_copy(
                update={"drops": drops, "warm_up": WarmUp(iterations=warm_up, start=0.1)},
            ),
            "evaluation": reference.evaluation.model_copy(update={"every": every}),
        }
    )


def test_a_reduction_keeps_the_size_of_the_images_of_an_evaluation(tiny_suite: Path) -> None:
    imagenet = load_protocol(protocol_files(tiny_suite.parent)["imagenet-paper"])
    assert isinstance(imagenet, Protocol)
    part = ReducedEvaluation(every=8, images=512)

    found = [
        reduced(imagenet, Reduction(of="reference", iterations=8, evaluation=part)),
        reduced(imagenet, Reduction(of="reference", factor=0.5, evaluation=part)),
    ]

    assert [(short.iterations, short.evaluation.model_dump()) for short in found] == [
        (8, {"every": 8, "images": 512, "resize": 256, "crop": 224}),
        (265_000, {"every": 8, "images": 512, "resize": 256, "crop": 224}),
    ]


@pytest.mark.parametrize(("iterations", "warm_up", "drops"), [(8, 1, (3, 5)), (2, 1, (1,)), (1, None, ())])
def test_a_fixed_number_of_iterations_keeps_of_the_schedule_what_there_is_room_for(
    iterations: int, warm_up: int | None, drops: tuple[int, ...]
) -> None:
    reference = load_suite("table3").reference
    warmed = reference.schedule.model_copy(update={"warm_up": WarmUp(iterations=400, start=0.1)})
    part = ReducedEvaluation(every=1)
    reduction = Reduction(of="reference", iterations=iterations, evaluation=part)

    schedule = reduced(reference.model_copy(update={"schedule": warmed}), reduction).schedule

    assert isinstance(schedule, Steps)
    assert schedule.drops == drops
    assert (schedule.warm_up.iterations if schedule.warm_up else None) == warm_up


def test_schedules_without_drops_are_scaled_as_they_are(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite, protocol="cifar-scaled", factor=0.5)

    assert suite.protocol == suite.reference.model_copy(
        update={
            "iterations": 3,
            "evaluation": suite.reference.evaluation.model_copy(update={"every": 2}),
        }
    )


# Lines of a suite, options of a command -> factor, and the options that load the suite again.
FACTORS: tuple[tuple[str, dict[str, Any], float | None, str], ...] = (
    ("protocol: tiny", {}, None, ""),
    ("protocol: tiny", {"protocol": "cifar-scaled"}, 0.1, " --protocol cifar-scaled"),
    ("protocol: tiny", {"protocol": "cifar-scaled", "factor": 0.5}, 0.5, " --protocol cifar-scaled --factor 0.5"),
    ("protocol: cifar-scaled", {}, 0.1, ""),
    ("protocol: cifar-scaled", {"factor": 0.5}, 0.5, " --factor 0.5"),
    ("protocol: cifar-scaled", {"factor": 0.5, "seeds": 1}, 0.5, " --factor 0.5 --seeds 1"),
    ("protocol: cifar-scaled\nfactor: 0.25", {}, 0.25, ""),
    ("protocol: cifar-scaled\nfactor: 0.25", {"protocol": "cifar-scaled"}, 0.25, ""),
    ("protocol: cifar-scaled\nfactor: 0.25", {"factor": 0.5}, 0.5, " --factor 0.5"),
    ("protocol: cifar-scaled\nfactor: 0.25", {"protocol": "smoke"}, None, " --protocol smoke"),
    ("protocol: cifar-scaled\nfactor: 0.25", {"protocol": "other"}, 0.75, " --protocol other"),
)


@pytest.mark.parametrize(("lines", "options", "factor", "again"), FACTORS)
def test_a_factor_is_that_of_the_command_else_of_the_suite_else_of_the_file(
    tiny_suite: Path, lines: str, options: dict[str, Any], factor: float | None, again: str
) -> None:
    tiny = tiny_suite.parent / "protocols" / "tiny.yaml"
    tiny.write_text(tiny.read_text().replace("iterations: 6", "iterations: 600"))
    (tiny_suite.parent / "protocols" / "other.yaml").write_text("of: reference\nfactor: 0.75\n")
    tiny_suite.write_text(tiny_suite.read_text().replace("protocol: tiny", lines))

    suite = load_suite(tiny_suite, **options)

    assert (suite.factor, suite.options) == (factor, again)
    if factor is not None:
        assert suite.protocol.iterations == 600 * factor


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ({}, " --protocol tiny"),
        ({"protocol": "smoke"}, " --protocol smoke"),
        ({"protocol": "cifar-scaled"}, " --protocol cifar-scaled --factor 0.1"),
        ({"protocol": "cifar-scaled", "factor": 1 / 3}, " --protocol cifar-scaled --factor 0.333333"),
    ],
)
def test_the_options_of_a_protocol_are_found_from_its_values(
    tiny_suite: Path, asked: dict[str, Any], again: str
) -> None:
    tiny = tiny_suite.parent / "protocols" / "tiny.yaml"
    tiny.write_text(tiny.read_text().replace("iterations: 6", "iterations: 600"))
    suite, other = load_suite(tiny_suite), load_suite(tiny_suite, **asked)
    wanted = other.cells[0].run(other.protocol, 0).protocol

    assert protocol_options(suite, wanted, suite.cells) == again
    assert protocol_options(suite, wanted.model_copy(update={"batch": 7}), suite.cells) is None


def test_a_protocol_file_that_does_not_hold_is_no_protocol_of_a_run(tiny_suite: Path) -> None:
    suite = load_suite(tiny_suite)
    (tiny_suite.parent / "protocols" / "broken.yaml").write_text("iterations: many\n")

    assert protocol_options(suite, suite.cells[0].run(suite.protocol, 0).protocol, suite.cells) == " --protocol tiny"


def test_two_factors_are_two_cells(tiny_suite: Path) -> None:
    half, whole = load_suite(tiny_suite, protocol="cifar-scaled", factor=0.5), load_suite(tiny_suite)

    assert not {run.cell_id for run in half.runs()} & {run.cell_id for run in whole.runs()}


def test_the_scaled_paper_is_scaled_and_says_by_what() -> None:
    suite = load_suite("table3", protocol="cifar-scaled")

    assert (suite.fidelity, suite.differences) == (
        "scaled",
        (
            "iterations 16000 instead of 160000",
            "schedule.drops 6400, 9600 instead of 64000, 96000",
            "evaluation.every 1600 instead of 4000",
        ),
    )


def test_a_factor_of_less_than_one_pass_is_smoke() -> None:
    assert load_suite("table3", protocol="cifar-scaled", factor=0.004).fidelity == "smoke"


def test_the_protocols_of_the_paper_hold_its_numbers(tiny_suite: Path) -> None:
    files = protocol_files(tiny_suite.parent)

    cifar, imagenet = load_protocol(files["cifar-paper"]), load_protocol(files["imagenet-paper"])

    assert isinstance(cifar, Protocol)
    assert (cifar.iterations, cifar.batch, cifar.last_batch, cifar.precision) == (160_000, 64, "run-on", "float32")
    assert isinstance(imagenet, Protocol)
    assert (imagenet.iterations, imagenet.schedule.model_dump(), imagenet.optimizer.momentum) == (
        530_000,
        {"kind": "steps", "lr": 0.1, "drops": (200_000, 400_000, 500_000), "factor": 0.1, "warm_up": None},
        0.9,
    )
    assert (imagenet.evaluation.crop, imagenet.augmentation.colour) == (224, "pca")


def test_a_suite_of_imagenet_takes_the_protocol_for_it(tiny_suite: Path) -> None:
    text = (
        tiny_suite.read_text().replace("dataset: digits", "dataset: imagenet").replace(": tiny\n", ": imagenet-paper\n")
    )
    text = text.replace("datasets:\n  digits: {train: 200, test: 100}\n", "").replace(
        "name: imagenet-paper", "name: tiny"
    )
    tiny_suite.write_text(text)

    suites = [load_suite(tiny_suite), load_suite(tiny_suite, protocol="smoke")]

    assert [suite.fidelity for suite in suites] == ["full", "smoke"]


def test_quickstart_holds_what_it_promises() -> None:
    suite = load_suite("quickstart")

    assert [suite.label(cell) for cell in suite.cells] == [
        "attention-56, residual",
        "attention-56, naive",
        "attention-164, residual",
        "attention-164, naive",
    ]
    assert {(cell.data.train_images, cell.data.test_images) for cell in suite.cells} == {(1_437, 360)}
    assert [claim.id for claim in suite.claims] == ["residual-beats-naive-m4", "naive-degrades-with-depth"]
    assert (suite.fidelity, suite.seeds) == ("full", (0, 1, 2, 3, 4))


def test_table3_holds_the_eight_values_of_the_paper() -> None:
    suite = load_suite("table3")

    values = {suite.label(entry.cell): (entry.value, entry.metric) for entry in suite.published}

    assert values == {
        "attention-56, residual": (5.52, "error_pct"),
        "attention-92, residual": (4.99, "error_pct"),
        "attention-128, residual": (4.44, "error_pct"),
        "attention-164, residual": (4.31, "error_pct"),
        "attention-56, naive": (5.89, "error_pct"),
        "attention-92, naive": (5.35, "error_pct"),
        "attention-128, naive": (5.57, "error_pct"),
        "attention-164, naive": (7.18, "error_pct"),
    }
    assert (len(suite.cells), len(suite.runs()), suite.fidelity) == (8, 40, "full")


def test_the_open_points_that_table3_lists_are_what_its_protocol_does() -> None:
    suite = load_suite("table3")
    listed = {entry.id for entry in suite.deviations}

    protocol = suite.protocol

    assert {"mean", "padding", "last-batch", "weight-decay", "initialisation"} <= listed
    assert (protocol.augmentation.mean, protocol.augmentation.order) == ("image", "subtract-then-pad")
    assert (protocol.last_batch, protocol.optimizer.decay_norm) == ("run-on", True)
    assert protocol.initialisation == "he-fan-in"


FRAGMENTS = (
    *(
        "&a",
        "*a",
        "<<",
        ": ",
        "- ",
        "? ",
        "!!str",
        "'",
        '"',
        "|\n",
        ">-\n",
        "\t",
        "\n  ",
        "---\n",
        "[",
        "]",
        "{",
        "}",
        ",",
    ),
    *("#", "~", "null", "true", "-1", "1e400", ".nan", ".inf", "-0.0", "0x1F", "1_0", "007", "9" * 30, "2017-04-23"),
    *(
        "\ufeff",
        "\u2028",
        "\x85",
        "\x7f",
        "\x1b[0m",
        "\\ud800",
        "é",
        "naive",
        "resnet-164",
        "noise",
        "include",
        "value",
    ),
)


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """A text with up to four pieces cut out or put in."""
    for _ in range(draw(st.integers(1, 4))):
        start, cut = draw(st.integers(0, len(text))), draw(st.sampled_from((0, 0, 1, 3, 8, 20)))
        piece = draw(st.sampled_from(FRAGMENTS) | st.text(st.characters(codec="utf-8"), max_size=4))
        text = text[:start] + piece + text[start + cut :]
    return text


@pytest.fixture(scope="module")
def playground() -> Iterator[Path]:
    """A folder for many files, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "protocols").mkdir()
        yield Path(folder)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_gives_a_suite_or_a_refusal_on_one_line(
    tiny_suite: Path, playground: Path, data: st.DataObject
) -> None:
    protocol = (tiny_suite.parent / "protocols" / "tiny.yaml").read_text()
    (playground / "tiny.yaml").write_text(data.draw(damaged(tiny_suite.read_text())), encoding="utf-8")
    (playground / "protocols" / "tiny.yaml").write_text(
        data.draw(st.just(protocol) | damaged(protocol)), encoding="utf-8"
    )

    try:
        outcome: Suite | SuiteError = load_suite(playground / "tiny.yaml")
    except SuiteError as error:
        outcome = error

    if isinstance(outcome, Suite):
        assert len({run.fingerprint for run in outcome.runs()}) == len(outcome.cells) * len(outcome.seeds)
    else:
        assert str(outcome).isprintable()


def test_a_cycle_is_of_its_cells_and_no_part_of_any_identity(tiny_suite: Path) -> None:
    before = load_suite(tiny_suite)
    cycles = "cycles:\n  - {cell: {learning: naive}, cycle: monthly}\nclaims:"
    tiny_suite.write_text(tiny_suite.read_text().replace("claims:", cycles))

    after = load_suite(tiny_suite)

    assert [cell.cycle for cell in before.cells] == ["nightly", "nightly"]
    assert [cell.cycle for cell in after.cells] == ["nightly", "monthly"]
    assert [run.fingerprint for run in before.runs()] == [run.fingerprint for run in after.runs()]
