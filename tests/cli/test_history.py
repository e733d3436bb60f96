"""'history' over a published bundle: table, JSON, pictures, refusals and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.test_cli import ROOT, names
from ranbench.cli import app, main

BUNDLE = ROOT / "results" / "quickstart.zip"
DEEP = ("--only", "model=attention-164", "--only", "learning=naive")


def test_the_history_of_a_bundle_is_a_table_on_stdout(tmp_path: Path) -> None:
    words = ["history", "quickstart", *DEEP, "--db", str(BUNDLE), "--out", str(tmp_path / "new"), "--format", "svg"]

    found = CliRunner().invoke(app, words)

    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines() == [
        "quickstart: top-1 test error after the last iteration; less is better; protocol digits",
        "",
        "cell                  version   begun       n  mean (%)    sd   95 % interval  change (95 % interval)",
        "─────────────────────────────────────────────────────────────────────────────────────────────────────",
        "attention-164, naive  26f63c17  2026-11-25  5     17.44  4.12  12.33 to 22.56",
        "",
        "where: AMD EPYC (cpu), 2 threads, eager, channels_last, torch 2.14.1",
        str(tmp_path / "new" / "quickstart.history.error_pct.svg"),
    ]
    assert (tmp_path / "new" / "quickstart.history.error_pct.svg").read_text().startswith("<?xml")


def test_its_json_holds_raw_values_and_every_name_is_documented() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").partition("## A history")[2].partition("\n## ")[0]

    found = CliRunner().invoke(app, ["history", "quickstart", *DEEP, "--db", str(BUNDLE), "--json"])

    whole = json.loads(found.stdout)
    (line,) = whole["lines"]
    (point,) = line["points"]
    assert (point["n"], point["seeds"], len(point["values"])) == (5, [0, 1, 2, 3, 4], 5)
    assert point["mean"] == pytest.approx(sum(point["values"]) / 5)
    assert line["axes"]["learning"] == "naive"
    del line["axes"]
    for place in whole["places"]:
        del place["versions"]
    assert (
        sorted(name for name in names(whole) | {"since", "difference", "why", "versions"} if f"`{name}`" not in text)
        == []
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metric", "eror_pct"], 2, "--metric 'eror_pct': not known; did you mean 'error_pct'?"),
        (["--format", "gif"], 2, "--format 'gif': not known"),
        (["--only", "learning=nave", "--db", str(BUNDLE)], 2, "--only learning=nave: no cell of suite 'quickstart'"),
        (["--metric", "energy_joules", "--db", str(BUNDLE)], 6, "none of 20 done runs measured energy_joules"),
        (["--protocol", "smoke", "--db", str(BUNDLE)], 6, "no run under protocol 'smoke' is done"),
        ([], 7, "no database there yet"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_an_exit_code(
    words: list[str],
    code: int,
    message: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANBENCH_DB", raising=False)
    monkeypatch.setattr("sys.argv", ["ranbench", "history", "quickstart", *words])

    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (code, "")
    assert message in said.err
    assert len(said.err.splitlines()) == 1
