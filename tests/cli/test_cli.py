"""The command line from outside: one process per case, as a user or a CI meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import ranbench

from ranbench import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[str, str]) -> Path:
    """A folder in which the tiny suite was run and reported."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "protocols").mkdir()
    (folder / "protocols" / "tiny.yaml").write_text(tiny_texts[1])
    (folder / "tiny.yaml").write_text(tiny_texts[0])
    found = ranbench("run", "tiny.yaml", cwd=folder)
    assert found.returncode == 0, found.stderr
    return folder


def test_the_version_is_printed(tmp_path: Path) -> None:
    found = ranbench("--version", cwd=tmp_path)

    assert (found.returncode, found.stdout) == (0, f"ranbench {__version__}\n")


def test_help_loads_no_torch_no_sqlalchemy_no_pandas(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['ranbench', '--help']\n"
        "from ranbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'sqlalchemy', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert found.stdout.splitlines()[-1] == "[]"
    assert "Usage: ranbench" in found.stdout


def test_progress_and_answers_are_apart(done: Path) -> None:
    found = ranbench("run", "tiny.yaml", cwd=done)

    assert found.returncode == 0
    assert found.stdout == ""
    assert found.stderr.splitlines() == [
        "ranbench: 4 runs, 4 done already, 0 to do",
        "ranbench: 4 runs (fidelity: smoke): 0 trained, 4 done already",
    ]


def test_repeating_a_done_suite_loads_no_torch(done: Path) -> None:
    code = (
        "import sys; sys.argv = ['ranbench', 'run', 'tiny.yaml']\n"
        "from ranbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=done, capture_output=True, text=True, check=True)

    assert found.stdout == "False\n"


def test_runs_json_and_show_json_give_every_field_under_a_documented_name(done: Path) -> None:
    listed = json.loads(ranbench("runs", "--json", cwd=done).stdout)
    shown = json.loads(ranbench("show", listed[0]["fingerprint"][:8], "--json", cwd=done).stdout)

    documented = set(re.findall(r"`([a-z0-9_.\[\]]+)`", (ROOT / "docs" / "json.md").read_text()))
    assert len(listed) == 4
    assert names(listed[0]) <= documented
    assert names(shown) <= documented
    assert shown["attempts"][0]["metrics"] == listed[0]["attempts"][0]["metrics"]
    assert len(shown["attempts"][0]["predictions"]) == 100
    assert shown["attempts"][0]["series"]["train_loss"]["steps"] == [1, 2, 3, 4, 5, 6]


# The keys below these are data: fields of specs, names of metrics, packages, modules, operators.
OPEN = {"spec", "metrics", "series", "versions", "settings", "by_module", "uncounted"}


def names(value: object) -> set[str]:
    """All keys of a JSON value, without those below ``OPEN``."""
    if isinstance(value, list):
        return set().union(*(names(item) for item in value)) if value else set()
    if isinstance(value, dict):
        below = (names(item) for key, item in value.items() if key not in OPEN)
        return set(value).union(*below)
    return set()


@pytest.mark.parametrize("command", ["runs", "status"])
def test_reading_commands_take_json_a_suite_and_the_database_before_or_after(done: Path, command: str) -> None:
    url = f"sqlite:///{done}/results/ranbench.db"

    after = ranbench(command, "tiny.yaml", "--json", "--db", url, cwd=done)
    before = ranbench("--db", url, command, "tiny", "--json", cwd=done)
    environment = ranbench(command, "tiny", "--json", cwd=done, RANBENCH_DB=url)

    assert after.returncode == before.returncode == environment.returncode == 0
    assert json.loads(after.stdout) == json.loads(before.stdout) == json.loads(environment.stdout)


def test_status_counts_states(done: Path) -> None:
    found = json.loads(ranbench("status", "--json", cwd=done).stdout)

    assert found == {"runs": 4, "states": {"done": 4}, "running": []}


def test_show_prints_spec_attempt_metrics_and_environment(done: Path) -> None:
    prefix = json.loads(ranbench("runs", "--json", cwd=done).stdout)[0]["fingerprint"][:10]

    text = ranbench("show", prefix, cwd=done).stdout

    for part in ("protocol.iterations: 6", "attempt 1: done (counts)", "error_pct:", "environment.device: cpu"):
        assert part in text


def test_the_report_is_written_and_made_again_byte_for_byte(done: Path) -> None:
    first = ranbench("report", "tiny.yaml", "--compare", cwd=done)
    content = {file.name: file.read_bytes() for file in (done / "reports").rglob("*") if file.is_file()}
    second = ranbench("report", "tiny.yaml", "--compare", cwd=done)

    again = {file.name: file.read_bytes() for file in (done / "reports").rglob("*") if file.is_file()}
    assert (first.returncode, first.stdout, second.stdout) == (0, "reports/tiny.md\n", "reports/tiny.md\n")
    assert "tiny.md" in content
    assert again == content


def test_report_json_gives_the_tables(done: Path) -> None:
    (tables,) = json.loads(ranbench("report", "tiny.yaml", "--compare", "--json", cwd=done).stdout)

    assert tables["fidelity"] == "smoke"


def test_runs_csv_holds_a_row_per_run(done: Path) -> None:
    found = ranbench("runs", "--csv", "runs.csv", cwd=done)

    lines = (done / "runs.csv").read_text().splitlines()
    assert found.returncode == 0
    assert len(lines) == 5
    assert "error_pct" in lines[0].split(",")


def test_plan_json_trains_nothing_and_makes_no_database(tmp_path: Path) -> None:
    found = ranbench("plan", "table3", "--json", cwd=tmp_path)

    planned = json.loads(found.stdout)
    assert found.returncode == 0
    assert (len(planned["runs"]), planned["fidelity"], planned["seconds"]) == (40, "full", None)
    assert planned["macs"] == sum(run["macs"] for run in planned["runs"])
    assert list(tmp_path.iterdir()) == []


def test_a_factor_shortens_what_is_planned(tmp_path: Path) -> None:
    chosen = ("table3", "--protocol", "cifar-scaled", "--factor", "0.03")

    planned = json.loads(ranbench("plan", *chosen, "--json", cwd=tmp_path).stdout)
    words = ranbench("plan", *chosen, cwd=tmp_path).stdout
    whole = json.loads(ranbench("plan", "table3", "--json", cwd=tmp_path).stdout)

    assert (planned["protocol"], planned["factor"], planned["fidelity"]) == ("cifar-scaled", 0.03, "scaled")
    assert "schedule.drops 1920, 2880 instead of 64000, 96000" in planned["differences"]
    assert planned["macs"] == 0.03 * whole["macs"]
    assert whole["factor"] is None
    assert "suite table3, protocol cifar-scaled (factor 0.03), fidelity scaled" in words.splitlines()


@pytest.mark.slow
def test_a_run_of_a_factor_is_reported_under_its_commands(tiny_suite: Path) -> None:
    folder, chosen = tiny_suite.parent, ("--protocol", "cifar-scaled", "--factor", "0.5")

    trained = ranbench("run", "tiny.yaml", *chosen, "--seeds", "1", cwd=folder)
    reported = ranbench("report", "tiny.yaml", *chosen, "--seeds", "1", cwd=folder)

    assert (trained.returncode, reported.returncode) == (0, 0), trained.stderr + reported.stderr
    page = (folder / "reports" / "tiny.cifar-scaled-0.5.md").read_text()
    assert "ranbench run tiny.yaml --protocol cifar-scaled --factor 0.5 --seeds 1" in page
    assert "iterations 3 instead of 6" in page


def test_protocols_are_listed_with_their_length(tmp_path: Path) -> None:
    (tmp_path / "suites" / "protocols").mkdir(parents=True)
    (tmp_path / "suites" / "protocols" / "bad.yaml").write_text("of: reference\n")

    found = json.loads(ranbench("list", "protocols", "--json", cwd=tmp_path).stdout)

    assert {row["name"]: row["length"] for row in found} == {
        "bad": "invalid: suites/protocols/bad.yaml:1:1: expected either iterations or factor, exactly one of them",
        "cifar-paper": "160,000 iterations of 64 images",
        "cifar-resnet": "64,000 iterations of 128 images",
        "cifar-scaled": "0.1 of the reference's iterations; takes a factor",
        "digits": "157 iterations of 64 images",
        "imagenet-paper": "530,000 iterations of 256 images",
        "smoke": "8 iterations of the reference's batch",
    }


@pytest.mark.parametrize(
    ("kind", "name"), [("models", "resnet-164"), ("datasets", "digits"), ("protocols", "smoke"), ("suites", "table3")]
)
def test_list_names_what_a_suite_may_say(tmp_path: Path, kind: str, name: str) -> None:
    found = json.loads(ranbench("list", kind, "--json", cwd=tmp_path).stdout)

    assert name in [row["name"] for row in found]


@pytest.mark.parametrize(
    ("named", "code", "states"),
    [
        ([], 0, {**dict.fromkeys(("cifar10", "cifar100", "imagenet", "imagefolder"), "not fetched"), "digits": "good"}),
        (["digits", "cifar10"], 7, {"digits": "good", "cifar10": "not fetched"}),
    ],
)
def test_data_verify_counts_what_was_not_fetched_as_a_fault_only_where_it_is_named(
    tmp_path: Path, named: list[str], code: int, states: dict[str, str]
) -> None:
    found = ranbench("data", "verify", *named, "--json", cwd=tmp_path)

    entries = json.loads(found.stdout)
    assert (found.returncode, found.stderr) == (code, "")
    assert {entry["dataset"]: entry["state"] for entry in entries} == states
    assert [entry["good"] for entry in entries] == [entry["state"] == "good" for entry in entries]


def test_data_verify_says_what_is_damaged_whether_named_or_not(tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar-10-batches-py").mkdir(parents=True)

    found = ranbench("data", "verify", cwd=tmp_path)

    lines = found.stdout.splitlines()
    assert found.returncode == 7
    assert lines[0].startswith("cifar10: NOT GOOD: data/cifar-10-batches-py: data_batch_1, ")
    assert lines[1].startswith("cifar100: not fetched: data/cifar-100-python: no such folder; 'ranbench data fetch ")
    assert lines[3] == "digits: good: embedded in scikit-learn, sha256 as expected"


def test_validate_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    suite = tmp_path / "bad.yaml"
    suite.write_text("name: bad\ntitel: x\nseeds: -1\n")

    found = ranbench("validate", "bad.yaml", cwd=tmp_path)

    assert found.returncode == 2
    assert "bad.yaml:2:1: titel: unknown key; did you mean 'title'?" in found.stdout
    assert "bad.yaml:3:8: seeds:" in found.stdout or "bad.yaml:3:1: seeds:" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "nope.yaml"], 2, "nope.yaml: no such file"),
        (["run", "."], 2, "is a directory"),
        (["run", "table3", "--protocol", "smok"], 2, "protocol 'smok' is not known; did you mean 'smoke'?"),
        (
            ["run", "table3", "--factor", "0.1"],
            2,
            "--factor: protocol 'cifar-paper' takes no factor (those that do: cifar",
        ),
        (["plan", "table3", "--protocol", "smoke", "--factor", "0.1"], 2, "protocol 'smoke' takes no factor"),
        (
            ["plan", "table3", "--protocol", "cifar-scaled", "--factor", "1"],
            2,
            "--factor 1: must be above 0 and below 1",
        ),
        (["plan", "table3", "--factor", "half"], 2, "--factor"),
        (["plan", "table3", "--gpu-rate", "0"], 2, "--gpu-rate 0: must be above 0, in 1e12 multiply-adds a second"),
        (["plan", "table3", "--gpu-rate", "nan"], 2, "--gpu-rate nan: must be above 0, in 1e12 multiply-adds a"),
        (["plan", "table2", "--factor", "0.1"], 2, "--factor: suite 'table2' trains nothing (seeds: 0)"),
        (
            ["run", "table3", "--device", "tpu"],
            2,
            "--device 'tpu': not known; did you mean 'cpu'? (allowed: auto, cpu, cuda)",
        ),
        (["run", "table3", "--rerun", "some"], 2, "--rerun 'some': not known"),
        (["run", "table3", "--only", "model"], 2, "expected KEY=VALUE"),
        (["run", "table3", "--only", "model=x"], 2, "no cell of suite 'table3' has these values"),
        (["run", "table3", "--only", "modl=x"], 2, "unknown axis; did you mean 'model'?"),
        (["run", "table3", "--seeds", "0"], 2, "--seeds 0"),
        (["run", "table3", "--seeds", "x"], 2, "--seeds"),
        (["run", "table3", "--sedes", "1"], 2, "No such option"),
        (["run"], 2, "Missing argument"),
        (["rum"], 2, "No such command"),
        (["run", "table3", "--protocol", "smoke"], 7, "cifar10: data/cifar-10-batches-py: no such folder"),
        (["run", "quickstart", "--db", "mysql://u:secret@h/x"], 7, "mysql"),
        (["runs"], 7, "'ranbench run SUITE' makes one"),
        (["show", "abcd"], 7, "'ranbench run SUITE' makes one"),
        (
            ["rerun", "abcd"],
            2,
            "rerun: give --check; to train for new results there is 'ranbench run SUITE --rerun all'",
        ),
        (["rerun", "abcd", "--check"], 7, "'ranbench run SUITE' makes one"),
        (["report", "quickstart"], 7, "'ranbench run SUITE' makes one"),
        (["list", "modles"], 2, "did you mean 'models'?"),
        (["data", "fetch", "cifar"], 2, "did you mean 'cifar10'?"),
        (["data", "verify", "mydata:photos"], 2, "is a user's own: only a suite knows it"),
        (["data", "manifest", "digits"], 2, "data manifest digits: its facts are known, and no suite states them"),
        (["data", "manifest", "mydata.photos"], 2, "did you mean 'mydata:photos'?"),
        (["data", "manifest", "mydata:photos"], 2, "imports 'mydata' and runs its code; --trust-imports allows it"),
        (
            ["data", "manifest", "mydata:photos", "--form", "digit"],
            2,
            "--form 'digit': not known; did you mean 'digits'?",
        ),
        (
            ["data", "manifest", "nowhere:photos", "--trust-imports"],
            2,
            "there is no module 'nowhere' where Python finds",
        ),
        (["complexity", "attention-56", "--dataset", "mydata:photos"], 2, "'ranbench data manifest mydata:photos"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_refusal_is_one_line_and_its_code(tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    found = ranbench(*arguments, cwd=tmp_path)

    assert (found.returncode, found.stdout) == (code, "")
    assert len(found.stderr.splitlines()) == 1, found.stderr
    assert text in found.stderr
    assert "secret" not in found.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_leaves_a_checkpoint_and_a_resumable_run(tiny_suite: Path, number: signal.Signals, code: int) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("iterations: 6", "iterations: 2000"))
    log = tiny_suite.parent / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ranbench", "run", "tiny.yaml"], cwd=tiny_suite.parent, stderr=file
        )
        end = time.monotonic() + 60
        while "begins" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(number)

        returned = process.wait(timeout=60)

    states = json.loads(ranbench("status", "--json", cwd=tiny_suite.parent).stdout)["states"]
    assert returned == code
    assert states == {"interrupted": 1, "planned": 3}
    assert list(tiny_suite.parent.glob("results/checkpoints/*/*.safetensors"))
    assert "stopping after the iteration or evaluation in hand" in log.read_text()


def test_a_pipe_that_closes_early_is_no_error(done: Path) -> None:
    command = f"{sys.executable} -m ranbench runs --json | head -1"

    found = subprocess.run(command, shell=True, cwd=done, capture_output=True, text=True, check=False)

    assert found.stdout == "[\n"
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", ["runs --json", "schema", "list models", "--help"])
def test_a_pipe_that_was_closed_before_anything_was_read_exits_with_0(done: Path, command: str) -> None:
    read, write = os.pipe()
    os.close(read)

    with os.fdopen(write, "wb") as pipe:
        words = [sys.executable, "-m", "ranbench", *command.split()]
        found = subprocess.run(words, cwd=done, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)

    assert (found.returncode, found.stderr) == (0, "")
