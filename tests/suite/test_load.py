"""Loading suites: arguments and options, what a good file resolves to, and what a damaged one cannot do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranbench.errors import SuiteError, UsageError
from ranbench.suite import Suite, find_suite, load_protocol, load_suite, protocol_files, shipped_suites

PROTOCOLS = "(allowed: cifar-paper, digits, smoke, tiny)"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("no.yaml", "no.yaml: no such file (allowed: a file, or quickstart, table2, "),
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
    ],
)
def test_an_option_that_cannot_be_carried_out_is_refused(
    tiny_suite: Path, options: dict[str, str | int], message: str
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
        "schedule": {"kind": "steps", "lr": 0.1, "drops": (3, 5), "factor": 0.1},
        "evaluation": {"every": 8, "images": 512},
    }


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


def test_the_claims_of_table3_hold_for_the_papers_own_numbers() -> None:
    suite = load_suite("table3")
    printed = {id(entry.cell): entry.value for entry in suite.published}

    better = {claim.id: printed[id(claim.a)] < printed[id(claim.b)] for claim in suite.claims if claim.kind == "better"}
    values = {claim.id: claim.published == printed[id(claim.cell)] for claim in suite.claims if claim.kind == "value"}

    assert (len(better), len(values)) == (6, 8)
    assert all(better.values())
    assert all(values.values())


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
