"""A suite to start from: it holds and can be run, and is never written over another."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.errors import SuiteError, UsageError
from ranbench.suite import load_suite, shipped_suites
from ranbench.suite.starting import write_recorded_suite, write_starting_suite


def test_what_is_written_holds_under_the_name_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "my-suite.yaml"

    write_starting_suite(file)

    suite = load_suite(file)
    assert (suite.name, len(suite.runs()), [claim.id for claim in suite.claims]) == (
        "my-suite",
        6,
        ["residual-beats-naive"],
    )
    assert "ranbench run my-suite.yaml" in suite.text
    assert "NAME" not in suite.text
    assert load_suite(file, protocol="smoke").fidelity == "smoke"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mysuite", "expected a file NAME.yaml, with small letters, digits and hyphens in its name"),
        ("My.yaml", "expected a file NAME.yaml, with small letters, digits and hyphens in its name"),
        ("mysuite.yml", "expected a file NAME.yaml, with small letters, digits and hyphens in its name"),
    ],
)
def test_a_name_that_no_suite_may_have_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        write_starting_suite(tmp_path / name)

    assert str(refused.value) == f"new suite {str(tmp_path / name)!r}: {message}"
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        write_starting_suite(tmp_path / "table3.yaml")

    assert str(refused.value).endswith("table3.yaml has this name already; choose another one")
    assert list(tmp_path.iterdir()) == []


def test_a_recorded_suite_is_written_with_the_protocols_that_are_not_the_packages(tmp_path: Path) -> None:
    smoke = (shipped_suites() / "protocols" / "smoke.yaml").read_text(encoding="utf-8")

    files = write_recorded_suite(tmp_path / "two.yaml", "name: two", {"smoke": smoke, "short": "batch: 1"})

    assert files == [tmp_path / "two.yaml", tmp_path / "protocols" / "short.yaml"]
    assert [file.read_text(encoding="utf-8") for file in files] == ["name: two", "batch: 1"]
    with pytest.raises(UsageError, match=r"two\.yaml is there already; move it away, or write into another folder"):
        write_recorded_suite(tmp_path / "two.yaml", "other", {})


@pytest.mark.parametrize("name", ["../out", "/tmp/out", ".hidden", "a/b", "a\nb"])
def test_a_name_out_of_a_bundle_leads_into_no_other_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names no file NAME\.yaml of a suite or protocol"):
        write_recorded_suite(tmp_path / "two.yaml", "name: two", {name: "batch: 1"})

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")

    with pytest.raises(UsageError) as refused:
        write_starting_suite(file)

    assert str(refused.value) == f"new suite {file}: is there already; choose another name, or remove it"
    assert file.read_text() == "mine"


def test_two_suites_of_one_name_are_refused_at_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()
    text = (shipped_suites() / "quickstart.yaml").read_text(encoding="utf-8")
    (folder / "quickstart.yaml").write_text(text.replace("seeds: 5", "seeds: 4"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    line = text.splitlines().index("name: quickstart") + 1

    with pytest.raises(SuiteError) as refused:
        load_suite("quickstart")

    assert str(refused.value) == (
        f"suites/quickstart.yaml:{line}:1: name: 'quickstart' is the name of another suite too, "
        f"{shipped_suites() / 'quickstart.yaml'}; rename one of them"
    )


def test_a_copy_of_a_suite_is_the_same_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()
    text = (shipped_suites() / "quickstart.yaml").read_text(encoding="utf-8")
    (folder / "quickstart.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    suite = load_suite("quickstart")

    assert suite.file == "suites/quickstart.yaml"
