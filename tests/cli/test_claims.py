"""claims and power: what they print, and their exit codes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from report.conftest import PROTOCOL

from ranbench.cli import main
from ranbench.records import Environment, Owner, Predictions, Reason
from ranbench.store import Claimed, Store
from ranbench.suite import Suite, load_suite

SUITE = """\
name: small
title: A small suite
reference: short
protocol: short
seeds: 3
datasets: {digits: {train: 1437, test: 360}}
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}
published:
  - {cell: {model: attention-56, learning: residual}, metric: error_pct, value: 5.0, unit: percent, where: table 3}
  - {cell: {model: attention-56, learning: naive}, metric: error_pct, value: 9.0, unit: percent, where: table 3}
claims:
  - {id: helps, kind: better, a: {model: attention-56, learning: residual},
     b: {model: attention-56, learning: naive}, metric: error_pct, where: section 4}
  - {id: everywhere, kind: better, over: [model], a: {learning: residual}, b: {learning: naive}, metric: error_pct}
"""

ENVIRONMENT = Environment(
    device="cpu", device_name="cpu", cpu="cpu", cores=2, memory_bytes=1, threads=1, engine_path="eager", python="3",
    platform="linux", versions={}, commit=None, dirty=False, patch=None, host="host", user="user", command="",
)  # fmt: skip

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the suite ``small`` in it."""
    (tmp_path / "protocols").mkdir()
    (tmp_path / "protocols" / "short.yaml").write_text(PROTOCOL)
    (tmp_path / "small.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line; return exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ranbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def recorded() -> Suite:
    """Record the suite as it is now, as a run does before it begins."""
    suite = load_suite("small.yaml")
    with Store.open("sqlite:///results/ranbench.db") as store:
        store.record_suite(suite.name, suite.title, suite.text, suite.sha256, suite.runs(), suite.protocol_texts)
    return suite


def finish(
    model: str, learning: str, values: Sequence[float], classes: bytes = bytes(360), *, first_seed: int = 0
) -> None:
    """Record done runs of a cell, seed by seed; nan for one that failed."""
    suite = recorded()
    (cell,) = suite.select({"model": model, "learning": learning})
    with Store.open("sqlite:///results/ranbench.db") as store:
        for seed, value in enumerate(values, first_seed):
            spec = cell.run(suite.protocol, seed)
            claimed = store.claim(
                spec,
                owner=Owner("me", "host", 1, 1.0),
                code_id="c" * 64,
                environment=ENVIRONMENT,
                is_alive=lambda *_: True,
            )
            assert isinstance(claimed, Claimed)
            if math.isfinite(value):
                store.append(claimed.attempt_id, "me", [], 40)
                final = {"error_pct": value, "best_error_pct": value, "best_iteration": 40.0, "loss": 1.0}
                store.finish(claimed.attempt_id, "me", final, Predictions(classes))
            else:
                store.fail(claimed.attempt_id, "me", Reason.DIVERGED, "the loss became nan")


def test_before_any_run_nothing_is_measured(call: Call, folder: Path) -> None:
    code, out, err = call("claims", "small.yaml")

    assert code == 6
    assert out.splitlines()[0].startswith("– helps (section 4): Not run: no finished run of 'attention-56, residual'")
    assert err == "ranbench: no claim of suite 'small' was tested; 'ranbench run small.yaml' makes the runs\n"
    assert not (folder / "results").exists()


def test_after_failures_the_command_that_trains_again_is_named(call: Call) -> None:
    finish("attention-56", "residual", (math.nan, math.nan, math.nan))

    code, out, err = call("claims", "small.yaml", "--seeds", "2")

    assert code == 6
    assert " ".join(out.split()).startswith(
        "– helps (section 4): Not run to the end: no finished run of 'attention-56, residual' and "
        "'attention-56, naive' (2 failed); three finished seeds per arm would allow a test."
    )
    assert err.endswith(
        "ranbench: no claim of suite 'small' was tested; "
        "'ranbench run small.yaml --seeds 2 --rerun failed' trains the failed runs again\n"
    )


def test_verdicts_are_printed_with_what_stands_beside_them(call: Call) -> None:
    other = bytes([1] * 18) + bytes(342)
    finish("attention-56", "residual", (5.0, 5.1, 5.2))
    finish("attention-56", "naive", (10.0, 10.1, 10.2), other)
    finish("attention-92", "residual", (5.0, 5.1, 5.2))
    finish("attention-92", "naive", (5.0, 5.1, float("nan")))

    code, out, _ = call("claims", "small.yaml")

    words = " ".join(out.split())
    assert code == 0
    assert "✓ helps (section 4): Reproduced: the advantage of 'attention-56, residual'" in words
    assert (
        "the two nets of seed 0 differ on 18 of 360 test images, and 'attention-56, residual' is right on 18" in words
    )
    assert (
        "~ everywhere: Inconclusive: 1 of 2 comparisons cannot be tested: attention-92: it needs three seeds" in words
    )
    assert "✓ attention-56: reproduced, +5.00 (" in words
    assert "~ attention-92: inconclusive, it needs three seeds per arm, has 3 and 2" in words
    assert (
        "- with the failed run counted as guessing (90 percent), the effect is +28.3 percentage points at "
        "attention-92, which then speaks for the claim"
    ) in words


def test_smoke_runs_measure_nothing(call: Call) -> None:
    finish("attention-56", "residual", (5.0, 5.1, 5.2))

    code, out, _ = call("claims", "small.yaml", "--protocol", "smoke")

    assert code == 6
    assert "runs of smoke fidelity never count" in " ".join(out.split())


def test_strict_asks_for_every_claim_to_be_decided(call: Call) -> None:
    finish("attention-56", "residual", (5.0, 5.1, 5.2))
    finish("attention-56", "naive", (10.0, 10.1, 10.2))

    assert [call("claims", "small.yaml", *more)[0] for more in ((), ("--strict",))] == [0, 5]


def test_a_claim_that_fails_is_an_answer(call: Call) -> None:
    for model in ("attention-56", "attention-92"):
        finish(model, "naive", (5.0, 5.1, 5.2))
        finish(model, "residual", (10.0, 10.1, 10.2))

    code, out, _ = call("claims", "small.yaml", "--strict")

    assert code == 0
    assert out.startswith("✗ helps (section 4): Not reproduced: ")


def test_verdicts_as_json_hold_every_number(call: Call) -> None:
    finish("attention-56", "residual", (5.0, 5.1, 5.2))
    finish("attention-56", "naive", (10.0, 10.1, 10.2))

    code, out, _ = call("claims", "small.yaml", "--json")

    helps, everywhere = json.loads(out)
    assert code == 0
    assert (helps["id"], helps["kind"], helps["outcome"], helps["n"]) == ("helps", "better", "reproduced", [3, 3])
    assert helps["effect"] == pytest.approx(5.0)
    assert helps["beside"]["sampling"][0]["images"] == 360
    assert [member["outcome"] for member in everywhere["members"]] == ["reproduced", "not run"]


def test_a_suite_without_claims_measures_nothing(call: Call, folder: Path) -> None:
    (folder / "small.yaml").write_text(SUITE.split("claims:", maxsplit=1)[0])

    code, _, err = call("claims", "small.yaml")

    assert (code, err) == (6, "ranbench: suite 'small' makes no claim, so there is nothing to judge\n")


def test_seeds_are_planned_from_a_stated_spread(call: Call) -> None:
    code, out, err = call("power", "small.yaml", "--sd", "1.5")

    rows = [line.split() for line in out.splitlines() if line.startswith(("helps", "everywhere"))]
    assert code == 0
    assert rows[0][:6] == ["helps", "better", "2.5", "1.5", "stated", "4"]
    assert rows[0][-4:-2] == ["paper", "4"]
    assert err == (
        "ranbench: everywhere: the paper prints no numbers to take its effect from, and no run is done; "
        "--effect states one\n"
    )
    assert rows[1][:5] == ["everywhere", "better", "2.5", "1.5", "stated"]
    assert rows[1][5] == "?"


def test_seeds_are_planned_for_a_stated_effect(call: Call) -> None:
    code, out, err = call("power", "small.yaml", "--sd", "1.5", "--effect", "2")

    rows = [line.split() for line in out.splitlines() if line.startswith(("helps", "everywhere"))]
    assert (code, err) == (0, "")
    assert [row[3:9] for row in rows] == [["1.5", "stated", "2", "percentage", "points", "stated"]] * 2
    assert all(int(row[9]) > 3 for row in rows)


def test_seeds_are_planned_from_the_spread_of_the_runs(call: Call) -> None:
    finish("attention-56", "residual", (4.0, 5.0, 6.0))
    finish("attention-56", "naive", (8.0, 9.5, 11.0))

    code, out, _ = call("power", "small.yaml", "--json")

    helps, everywhere = json.loads(out)
    assert code == 0
    assert (helps["spread"], helps["sds"], helps["effects"]) == ("measured", [1.0, 1.5], [4.0])
    assert everywhere["reason"] == "no spread is measured yet; --sd states one"


def test_the_power_of_several_comparisons_is_told_as_a_lower_bound(call: Call) -> None:
    for model in ("attention-56", "attention-92"):
        finish(model, "residual", (4.0, 5.0, 6.0))
        finish(model, "naive", (8.0, 9.5, 11.0))

    code, out, _ = call("power", "small.yaml")

    helps, everywhere = [line for line in out.splitlines() if line.startswith(("helps", "everywhere"))]
    assert (code, "at least" in helps) == (0, False)
    assert re.search(r" at least \d+$", everywhere.rstrip())


def test_what_scaled_runs_measured_is_marked(call: Call, folder: Path) -> None:
    text = SUITE.replace("reference: short", "reference: long")
    (folder / "protocols" / "long.yaml").write_text(PROTOCOL.replace("iterations: 40", "iterations: 80"))
    (folder / "small.yaml").write_text(text)
    finish("attention-56", "residual", (4.0, 5.0, 6.0))
    finish("attention-56", "naive", (8.0, 9.5, 11.0))

    _, out, _ = call("power", "small.yaml")
    _, stated, _ = call("power", "small.yaml", "--sd", "1.5")

    assert "measured (scaled)" in out
    assert "scaled" not in next(line for line in stated.splitlines() if line.startswith("helps"))


def test_without_a_spread_no_number_of_seeds_is_given(call: Call) -> None:
    code, _, err = call("power", "small.yaml")

    assert code == 6
    assert err.splitlines()[-1] == (
        "ranbench: suite 'small': no number of seeds can be given: no spread is measured yet; --sd states one"
    )


@pytest.mark.parametrize("option", ["--sd", "--effect"])
@pytest.mark.parametrize("stated", ["0", "-1", "nan", "inf"])
def test_a_spread_or_an_effect_that_is_none_is_refused(call: Call, option: str, stated: str) -> None:
    code, _, err = call("power", "small.yaml", f"{option}={stated}")

    assert (code, err) == (2, f"ranbench: {option} {stated}: must be above 0, in the unit of the metric\n")


# --- declared after looking

NEAR = "  - {id: near, kind: value, cell: {model: attention-56, learning: naive}, metric: error_pct, margin: 1.0}\n"
LATE = "declared after 3 of its 3 runs were done (until then its margin was 1)"


@pytest.fixture
def widened(folder: Path) -> Path:
    """A suite whose margin was widened after three runs missed it."""
    (folder / "small.yaml").write_text(SUITE + NEAR)
    finish("attention-56", "naive", (10.0, 10.2, 10.4))
    (folder / "small.yaml").write_text((SUITE + NEAR).replace("margin: 1.0", "margin: 6.0"))
    return folder


def near(out: str) -> dict[str, object]:
    """The verdict on ``near`` among those that were printed as JSON."""
    found: dict[str, object] = next(row for row in json.loads(out) if row["id"] == "near")
    return found


def test_a_margin_that_was_widened_after_the_runs_is_told_by_claims(call: Call, widened: Path) -> None:
    code, out, _ = call("claims", "small.yaml")
    before = near(call("claims", "small.yaml", "--json")[1])
    recorded()
    after = near(call("claims", "small.yaml", "--json")[1])

    assert code == 0
    assert f"✓ near: Reproduced, {LATE}: the mean test error" in " ".join(out.split())
    late = {"runs": 3, "of": 3, "recorded": None, "changed": ["margin"], "before": 1.0, "words": LATE}
    assert before["declared_after"] == late
    assert after["declared_after"] == {**late, "recorded": after["declared_after"]["recorded"]}  # type: ignore[index]
    assert str(after["declared_after"]["recorded"]).endswith("+00:00")  # type: ignore[index]


def test_a_margin_that_was_set_before_the_runs_needs_no_word(call: Call, folder: Path) -> None:
    (folder / "small.yaml").write_text(SUITE + NEAR)
    recorded()
    (folder / "small.yaml").write_text((SUITE + NEAR).replace("margin: 1.0", "margin: 6.0"))
    finish("attention-56", "naive", (10.0, 10.2, 10.4))

    verdict = near(call("claims", "small.yaml", "--json")[1])

    assert verdict["declared_after"] is None
    assert str(verdict["sentence"]).startswith("Reproduced: the mean test error")


def test_seeds_that_were_raised_in_the_file_are_adaptive_as_those_of_the_option(call: Call, folder: Path) -> None:
    (folder / "small.yaml").write_text(SUITE + NEAR)
    finish("attention-56", "naive", (9.0, 9.2, 9.4))
    (folder / "small.yaml").write_text((SUITE + NEAR).replace("seeds: 3", "seeds: 5"))
    finish("attention-56", "naive", (9.1, 9.3), first_seed=3)

    verdict = near(call("claims", "small.yaml", "--json")[1])

    assert (verdict["n"], verdict["adaptive"], verdict["declared_after"]) == ([5], [3, 4], None)
    assert str(verdict["sentence"]).startswith("Reproduced with 2 adaptive seeds (added after looking): ")


def test_a_version_that_cannot_be_read_any_more_is_passed_over(call: Call, widened: Path) -> None:
    with Store.open("sqlite:///results/ranbench.db") as store:
        store.record_suite("small", "S", "name: small\nnot: a suite", "a" * 64, [])

    verdict = near(call("claims", "small.yaml", "--json")[1])

    assert str(verdict["sentence"]).startswith(
        f"Reproduced, {LATE[:-1]}, as far as its recorded versions can be read):"
    )


def test_old_versions_are_read_only_where_they_can_say_another_thing(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded()
    (folder / "small.yaml").write_text(SUITE + NEAR)
    finish("attention-56", "naive", (9.0, 9.2, 9.4))
    read: list[str] = []
    monkeypatch.setattr("ranbench.cli.evidence._read", lambda version: read.append(version.text))

    verdict = near(call("claims", "small.yaml", "--json")[1])

    assert (verdict["declared_after"], read) == (None, [])


def test_every_format_of_a_page_marks_what_was_declared_after_looking(call: Call, widened: Path) -> None:
    code, _, err = call("report", "small.yaml", "--compare", "--format", "md,html,tex,csv,json")

    page, web, latex, raw = (
        (widened / "reports" / f"small.{kind}").read_text(encoding="utf-8") for kind in ("md", "html", "tex", "json")
    )
    sheet = (widened / "reports" / "small" / "verdicts.csv").read_text(encoding="utf-8")
    verdict = next(row for row in json.loads(raw)["verdicts"] if row["id"] == "near")
    assert code == 0, err
    assert "✓ 1 reproduced, – 2 not run; 1 declared after looking." in page
    assert page.count("reproduced (declared after looking) (a) |") == 2  # the verdicts, and the results
    assert page.count(f"- (a) {LATE}") == 2
    assert f"Reproduced, {LATE}: " in page
    latex += "".join(file.read_text(encoding="utf-8") for file in (widened / "reports" / "small").glob("*.tex"))
    for text in (web, latex):
        assert text.count("reproduced (declared after looking)") == 2
        assert " ".join(text.split()).count(LATE) == 3  # the sentence, and a footnote of each table
    assert LATE in sheet
    assert verdict["declared_after"]["words"] == LATE


def test_a_bundle_says_of_a_claim_what_its_database_says(call: Call, widened: Path) -> None:
    recorded()
    call("report", "small.yaml", "--compare")
    assert call("export", "small.zip")[0] == 0

    there = near(call("claims", "small.yaml", "--json")[1])
    inside = near(call("claims", "small", "--json", "--db", "small.zip")[1])
    verified = call("report", "small.yaml", "--verify", "reports/small.md", "--db", "small.zip")

    assert there["declared_after"]
    assert inside == there
    assert verified[:2] == (0, "reports/small.md: comes out again\n")


def test_a_page_from_before_a_claim_was_changed_does_not_come_out_again(call: Call, widened: Path) -> None:
    call("report", "small.yaml", "--compare")
    (widened / "small.yaml").write_text(SUITE + NEAR)

    code, out, _ = call("report", "small.yaml", "--verify", "reports/small.md")

    assert code == 4
    assert "declared after" in out
