"""Results that are published here: every bundle holds, and every page comes out of its bundle again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import ranbench

from ranbench.store import Store

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = {
    "quickstart": None,
    "attention-56-scaled": "attention-56.cifar-scaled-0.005.md",
    "depth-smoke": "depth.smoke.md",
    "figure4-digits": "figure4-digits.md",
    "figure4-smoke": "figure4.smoke.md",
    "table5-digits": "table5-digits.md",
    "table5-smoke": "table5.smoke.md",
}


def test_every_bundle_that_is_published_is_known_here_and_holds() -> None:
    files = {file.stem: file for file in (ROOT / "results").glob("*.zip")}

    assert files.keys() == PUBLISHED.keys()
    for file in files.values():
        with Store.of_bundle(file) as store:
            assert {record.state for record in store.runs()} == {"done"}


def test_every_page_that_is_published_has_a_bundle() -> None:
    pages = {file.name for file in (ROOT / "reports").glob("*.md")}

    assert pages == set(PUBLISHED.values()) - {None}


@pytest.mark.parametrize(("bundle", "page"), [(bundle, page) for bundle, page in PUBLISHED.items() if page])
def test_a_published_page_comes_out_of_its_bundle_again(bundle: str, page: str, tmp_path: Path) -> None:
    words = ("report", "--verify", str(ROOT / "reports" / page), "--db", str(ROOT / "results" / f"{bundle}.zip"))

    found = ranbench(*words, "--json", cwd=tmp_path)

    assert [entry["differences"] for entry in json.loads(found.stdout)] == [[]], found.stderr
    assert found.returncode == 0


def test_the_readme_says_what_the_page_on_wrong_labels_says() -> None:
    page = (ROOT / "reports" / "table5-digits.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "- **Claims:** ✗ 1 not reproduced, ~ 3 inconclusive." in page
    assert "of the four claims, one is not reproduced *on the digits* and three are inconclusive" in readme


def test_the_readme_says_what_the_page_of_attention_56_says() -> None:
    page = (ROOT / "reports" / "attention-56.cifar-scaled-0.005.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    on_page = re.findall(r"^\| (?:residual|naive) \| .* scaled \| ([\d.]+) \| ([\d.]+) \(a", page, re.MULTILINE)
    in_readme = re.findall(r"^\| (?:mixed|channel|spatial) \| .* \| ([\d.]+) % \| ([\d.]+) % \|$", readme, re.MULTILINE)

    assert len(on_page) == 5
    assert in_readme == on_page
    assert "- **Claims:** ≠ 9 not comparable." in page


def test_the_readme_says_what_the_bundle_of_the_quickstart_holds(tmp_path: Path) -> None:
    words = ("report", "quickstart", "--compare", "--db", str(ROOT / "results" / "quickstart.zip"), "--out", "out")

    made = ranbench(*words, cwd=tmp_path)

    assert made.returncode == 0, made.stderr
    page = (tmp_path / "out" / "quickstart.md").read_text(encoding="utf-8")
    results, costs = (page.partition(f"\n## {name}")[2].partition("\n## ")[0] for name in ("Results", "Cost"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = re.findall(r"\| (\d+\.\d\d) % ± (\d+\.\d\d) \|", readme)
    assert said == re.findall(r"\| (?:residual|naive) \| (\d+\.\d\d) ± (\d+\.\d\d) \|", results)
    assert len(said) == 4
    torch, seconds = re.findall(r"torch (\S+); (\d+) s of training by the medians", readme)[0]
    assert f"2 threads, torch {torch})" in costs
    medians = re.findall(r"\| (?:\[5\]\(#cell-\d\)) \| (\d+\.\d) \|", costs)
    assert len(medians) == 4
    assert abs(5 * sum(map(float, medians)) - float(seconds)) < 1.0
