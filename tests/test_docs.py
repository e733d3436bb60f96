"""README and documents say what is true: every command exists, and every documented command line is accepted."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import ranbench
from typer.testing import CliRunner

from ranbench.claims import Beside, Member, Planned
from ranbench.cli import app
from ranbench.report import VerdictRow
from ranbench.spec import Augmentation, Cosine, Evaluation, OneCycle, Optimizer, Protocol, Steps, WarmUp
from ranbench.suite import AXES, find_suite, load_protocol, load_suite, protocol_files
from ranbench.suite.form import Reduction
from ranbench.suite.schema import suite_schema

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REPORTS = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
COMMANDS = (
    *(
        "list",
        "validate",
        "schema",
        "new suite",
        "new workflow",
        "plan",
        "run",
        "status",
        "runs",
        "show",
        "rerun",
        "response",
        "masks",
        "export",
        "merge",
        "report",
        "claims",
        "power",
        "check",
        "baseline save",
        "history",
        "complexity",
        "bench",
        "doctor",
        "data fetch",
        "data verify",
        "data manifest",
        "db check",
        "db backup",
        "db upgrade",
    ),
)


DOCUMENTS = {file.name: file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))}


def blocks(text: str, kind: str) -> list[str]:
    """The code blocks of a kind, in their order."""
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def documented() -> list[str]:
    """Every ranbench command line of the README and of all documents, from code blocks and inline code."""
    text = "\n".join((README, *DOCUMENTS.values()))
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    commands = [re.split(r" [#>]", line)[0].strip() for line in lines if line.startswith("ranbench ")]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    inline = [" ".join(found.split()) for found in re.findall(r"`(ranbench\s[^`]+)`", prose)]
    return list(dict.fromkeys((*commands, *inline)))


def test_every_command_is_documented_and_no_other() -> None:
    found = subprocess.run([sys.executable, "-m", "ranbench", "--help"], capture_output=True, text=True, check=True)

    listed = re.findall(r"^  ([a-z]+)  ", found.stdout.split("Commands:")[1], re.MULTILINE)

    assert set(listed) == {command.split()[0] for command in COMMANDS}
    assert [command for command in COMMANDS if f"ranbench {command}" not in README] == []


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_line_is_accepted(line: str) -> None:
    """Long ones are only parsed: with --help behind them, every option that does not exist is still refused."""
    words = shlex.split(line)[1:]

    found = CliRunner().invoke(app, [*words, "--help"])

    assert found.exit_code == 0, found.output
    options = [word for word in words if word.startswith("--")]
    assert [option for option in options if option not in found.output] == []


def test_every_key_of_a_protocol_is_documented() -> None:
    text = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_]+)`", text))
    kinds = (Protocol, Steps, Cosine, OneCycle, Optimizer, Augmentation, Evaluation, WarmUp, Reduction)

    keys = {key for kind in kinds for key in kind.model_fields}

    assert sorted(keys - documented - {"of"}) == []
    assert [name for name in protocol_files(ROOT / "suites") if f"| `{name}` |" not in text] == []


CLAIMED = """\
name: shown
title: Cells for the claims that are shown
reference: cifar-paper
protocol: cifar-paper
seeds: 5
cells:
  fixed: {dataset: cifar10}
  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}
published:
  - {cell: {model: attention-56, learning: naive}, metric: error_pct, value: 5.89, unit: percent, where: table 3}
  - {cell: {model: attention-56, learning: naive}, metric: parameters, value: 6e5, unit: parameters, where: here}
"""


def test_the_claims_that_are_shown_hold(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(claims:.*?)```", text, re.DOTALL)[0]
    file = tmp_path / "shown.yaml"
    file.write_text(CLAIMED + shown, encoding="utf-8")

    claims = load_suite(file).claims

    assert [claim.kind for claim in claims] == ["better", "value", "trend", "trend", "ratio", "complexity"]
    assert len(claims[0].pairs) == 2


def test_every_name_in_the_json_of_claims_is_documented() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    verdict, _, planned = text.partition("## A verdict")[2].partition("## Planned seeds")

    lacking = [
        name
        for kind, part in ((VerdictRow, verdict), (Member, verdict), (Beside, verdict), (Planned, planned))
        for name in kind.__dataclass_fields__
        if f"`{name}`" not in part
    ]

    assert lacking == []


def test_the_protocol_that_is_shown_is_the_papers(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    shown = tmp_path / "shown.yaml"
    shown.write_text(re.findall(r"```yaml\n(iterations.*?)```", text, re.DOTALL)[0])

    assert load_protocol(shown) == load_protocol(ROOT / "suites" / "protocols" / "cifar-paper.yaml")


def test_a_suite_that_is_named_is_found_from_any_folder_and_every_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = [line.split()[2] for line in documented() if re.match(r"ranbench (run|plan|report|validate) [a-z]", line)]
    files = re.findall(r"suites/\w+\.yaml", README + makefile)
    monkeypatch.chdir(tmp_path)

    names = [find_suite(name) for name in named if not name.endswith(".yaml")]

    assert names != []
    assert files != []
    assert [path for path in (*names, *(ROOT / file for file in files)) if not path.is_file()] == []


def test_every_key_of_a_suite_is_documented() -> None:
    schema = suite_schema()
    keys = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    told = set(re.findall(r"`([a-z_]+)`", DOCUMENTS["suites.md"]))

    assert {"name", "checksum", "tolerance_pct", "at_most"} <= keys
    assert sorted((keys | set(AXES)) - told) == []


# What a page's commands need to end in seconds, for a walk through it: what is pasted trains for minutes.
SMOKE = ["--protocol", "smoke", "--seeds", "1"]
SHORTER: dict[str, dict[str, list[str]]] = {
    "first-run.md": {"run": SMOKE, "claims": SMOKE, "report": SMOKE},
    "suites.md": {"run": SMOKE},
    "datasets.md": {"run": SMOKE},
    "ci.md": {
        "run": [*SMOKE[:2], "--seeds", "3"],
        "report": SMOKE,
        "history": ["--protocol", "smoke"],
        "baseline": [*SMOKE[:2], "--seeds", "3", "--speed-jobs", "0"],
        "check": [*SMOKE[:2], "--seeds", "3", "--speed-jobs", "0"],
    },
    "many-machines.md": {"run": SMOKE, "report": SMOKE},
}


def walk(page: str, folder: Path) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Do what a page says, in its order: write the files that it shows by name, call ranbench; return what was called.

    RUN is the first run of the database. Lines for other programs are left out, and so is a server that they name.
    """
    done: list[tuple[str, subprocess.CompletedProcess[str]]] = []
    for kind, block in re.findall(r"```(python|yaml|sh)\n(.*?)```", DOCUMENTS[page], re.DOTALL):
        named = re.match(r"# ([\w-]+\.\w+), ", block)
        if named:
            (folder / named[1]).write_text(block, encoding="utf-8")
        for line in block.splitlines() if kind == "sh" else ():
            if line.startswith("ranbench "):
                done.append((line, call(line, SHORTER[page], folder)))
    return done


def call(line: str, shorter: dict[str, list[str]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Call ranbench as a line says, its output into a file where it says so."""
    words = shlex.split(line, comments=True)[1:]
    into = words.index(">") if ">" in words else len(words)
    words, file = words[:into], words[into + 1 :]
    more = shorter.get(words[0], []) if not {"--protocol", "--verify"} & set(words) else []
    if shorter.get("report") == SMOKE:  # whose pages have a name of their own
        words = [re.sub(r"^(reports/[\w-]+)\.(md|json)$", r"\1.smoke.\2", word) for word in words]
    if "RUN" in words:
        listed = ranbench("runs", "--json", cwd=folder).stdout
        words[words.index("RUN")] = json.loads(listed)[0]["fingerprint"][:4]
    found = ranbench(*words, *more, cwd=folder)
    if file:
        (folder / file[0]).write_text(found.stdout, encoding="utf-8")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", SHORTER)
def test_a_page_can_be_followed_from_its_first_command_to_its_last(page: str, tmp_path: Path) -> None:
    """No claim is tested by runs of a few iterations, of which 'claims' says 6; there are no photographs."""
    done = walk(page, tmp_path)

    def expected(line: str) -> int:
        if line.startswith("ranbench data ") and {"imagenet", "imagefolder"} & set(line.split()):
            return 7
        return 6 if line.startswith("ranbench claims") else 0

    assert [(line, found.returncode, found.stderr) for line, found in done if found.returncode != expected(line)] == []
    assert len(done) >= 3


@pytest.mark.slow
def test_the_facts_of_a_dataset_of_one_s_own_are_those_that_are_printed(tmp_path: Path) -> None:
    page = DOCUMENTS["datasets.md"]
    (tmp_path / "mydata.py").write_text(blocks(page, "python")[0], encoding="utf-8")

    printed = ranbench("data", "manifest", "mydata:parity", "--trust-imports", cwd=tmp_path)

    assert printed.returncode == 0, printed.stderr
    assert printed.stdout in blocks(page, "yaml")[0]


@pytest.mark.slow
def test_the_suite_for_a_net_of_one_s_own_can_be_pasted_and_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(python|yaml|sh)\n(.*?)```", page, re.DOTALL))
    for kind in ("python", "yaml"):
        name = re.match(r"# (\w+\.\w+), ", blocks[kind])
        assert name is not None
        (tmp_path / name[1]).write_text(blocks[kind], encoding="utf-8")
    short = {"run": ["--protocol", "smoke", "--seeds", "1"]}  # what is pasted trains for minutes

    ended = [
        subprocess.run(
            [sys.executable, "-P", "-m", *words, *short.get(words[1], [])],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in map(shlex.split, blocks["sh"].splitlines())
    ]

    assert [(found.returncode, found.stderr) for found in ended if found.returncode] == []
    assert ended[0].stdout == "mysuite.yaml: valid: 2 cells, 6 runs, 1 claim\n"
    assert "ranbench: 2 runs (fidelity: smoke): 2 trained, 0 done already" in ended[1].stderr.splitlines()
    assert ended[2].stdout == "reports/mysuite.md\n"


def test_every_option_of_a_report_is_documented() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "ranbench", "report", "--help"], capture_output=True, text=True, check=True
    )

    options = set(re.findall(r"^\s*(--[a-z]+)", found.stdout, re.MULTILINE)) - {"--help", "--db"}

    assert {"--format", "--against", "--verify"} <= options
    assert sorted(option for option in options if f"`{option}" not in REPORTS) == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = [
        f"{file.name}: {target}"
        for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8"))
        if not (file.parent / target).exists()
    ]

    assert broken == []


def test_every_public_name_can_be_imported() -> None:
    import ranbench

    assert [name for name in ranbench.__all__ if not hasattr(ranbench, name)] == []


def test_every_suite_stands_in_the_readme_with_its_number_of_runs() -> None:
    rows = re.findall(r"^\| (`.*?`) \| .* \| ([^|]*) \|$", README.partition("## Suites")[2].partition("\n## ")[0], re.M)
    told = {
        name: runs
        for names, each in rows
        for name, runs in zip(re.findall(r"`(.*?)`", names), each.split("; "), strict=True)
    }

    suites = [load_suite(file) for file in sorted((ROOT / "suites").glob("*.yaml"))]

    assert told == {suite.name: str(len(suite.runs())) if suite.trains else "counted" for suite in suites}
