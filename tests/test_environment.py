"""What is known of the machine, the code and this process."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ranbench
from ranbench.environment import (
    PACKAGES,
    choose_device,
    code_id,
    code_of,
    describe,
    driver_version,
    energy_joules,
    gpu,
    is_alive,
    new_owner,
    peak_memory_bytes,
)
from ranbench.errors import EnvironmentProblem

PACKAGE = Path(ranbench.__file__).resolve().parent
CPU = torch.device("cpu")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package's sources that a test may change."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "ranbench", ignore=shutil.ignore_patterns("__pycache__")))


def code_id_of(package: Path) -> str:
    """Compute the code id of a package that stands elsewhere."""
    spec = importlib.util.spec_from_file_location("environment_elsewhere", package / "environment" / "code.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str = module.code_id()
    return found


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


def test_the_code_id_does_not_depend_on_where_the_package_stands(copied: Path) -> None:
    assert len(code_id()) == 64
    assert code_id_of(copied) == code_id()


@pytest.mark.parametrize(
    "source",
    ["catalogue.py", "spec/protocol.py", "data/noise.py", "data/__init__.py", "models/ran.py", "training/loop.py"],
)
def test_the_code_id_changes_with_every_source_that_makes_numbers(copied: Path, source: str) -> None:
    before = code_id_of(copied)
    with (copied / source).open("a") as file:
        file.write("\n")

    assert code_id_of(copied) != before


def test_the_code_id_changes_with_a_new_source_and_with_a_renamed_one(copied: Path) -> None:
    found = [code_id_of(copied)]
    (copied / "models" / "extra.py").write_text("")
    found.append(code_id_of(copied))
    (copied / "models" / "extra.py").rename(copied / "models" / "other.py")
    found.append(code_id_of(copied))

    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "source", ["environment/code.py", "errors.py", "cli/__init__.py", "report/tables.py", "training/x.txt"]
)
def test_the_code_id_stays_when_other_files_change(copied: Path, source: str) -> None:
    before = code_id_of(copied)
    with (copied / source).open("a") as file:
        file.write("\n")

    assert code_id_of(copied) == before


def test_the_code_id_covers_the_content_of_a_foreign_factory_and_not_its_place(tmp_path: Path) -> None:
    sources = {"a.py": "one", "b.py": "one", "c.py": "two"}
    for name, text in sources.items():
        (tmp_path / name).write_text(text)

    found = {name: code_id(tmp_path / name) for name in sources}

    assert found["a.py"] == found["b.py"] != found["c.py"]
    assert code_id() not in found.values()


def test_the_code_id_is_that_of_the_module_which_this_process_has_imported(tmp_path: Path) -> None:
    """A module is imported once: a change of its file is for the next process."""
    factory = tmp_path / "net.py"
    factory.write_text("one")
    before = code_id(factory)

    factory.write_text("two")

    assert code_id(factory) == before


def test_the_code_id_of_a_factory_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"gone\.py: cannot be read: "):
        code_id(tmp_path / "gone.py")


def test_the_code_of_a_user_s_net_is_found_without_running_any_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mypackage" / "inner").mkdir(parents=True)
    for file in ("mypackage/__init__.py", "mypackage/inner/__init__.py", "mypackage/inner/nets.py", "loose.py"):
        (tmp_path / file).write_text(f"raise SystemExit({file!r})\n")
    monkeypatch.chdir(tmp_path)

    found = [code_of(f"{module}:net") for module in ("mypackage", "mypackage.inner", "mypackage.inner.nets", "loose")]
    unknown = [code_of(f"{module}:net") for module in ("nowhere", "mypackage.other", "loose.inner", "sys")]

    files = ("mypackage/__init__.py", "mypackage/inner/__init__.py", "mypackage/inner/nets.py", "loose.py")
    assert found == [code_id(tmp_path / file) for file in files]
    assert len(set(found)) == 4
    assert unknown == [None] * 4
    assert code_of("attention-56") == code_of("timm:resnet18") == code_id()
    assert not {"mypackage", "loose"} & set(sys.modules)


def test_a_file_of_the_package_that_git_does_not_know_is_a_change_by_its_name(tmp_path: Path) -> None:
    package = tmp_path / "ranbench"
    shutil.copytree(Path(ranbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    ask = "from ranbench.environment import commit_and_patch; print(commit_and_patch()[1], end='')"
    how: Any = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path)}, "capture_output": True}
    patches = []

    for name in ("notes.txt", "ranbench/models/untracked.py"):
        (tmp_path / name).write_text("private = 1")
        done = subprocess.run([sys.executable, "-c", ask], text=True, check=True, **how)
        patches.append(done.stdout)

    assert patches == ["", "# not in git: ranbench/models/untracked.py\n"]


def test_this_process_is_alive_whatever_its_heartbeat() -> None:
    assert is_alive(new_owner(), long_ago())


def test_every_owner_has_its_own_token() -> None:
    first, second = new_owner(), new_owner()

    assert first.token != second.token
    assert first.host.startswith(f"{socket.gethostname()}-")
    assert (first.host, first.pid) == (second.host, os.getpid())
    assert dataclasses.replace(first, token="") == dataclasses.replace(second, token="")


def test_a_process_that_has_ended_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    assert not is_alive(dataclasses.replace(new_owner(), pid=process.pid), datetime.now(UTC))


def test_a_process_that_has_ended_but_was_not_collected_is_dead() -> None:
    import psutil

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        owner = dataclasses.replace(new_owner(), pid=process.pid, pid_started=started)
        alive = is_alive(owner, long_ago())
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now

        assert (alive, is_alive(owner, datetime.now(UTC))) == (True, False)


def test_a_pid_that_another_process_has_taken_is_dead() -> None:
    owner = new_owner()
    reused = dataclasses.replace(owner, pid_started=owner.pid_started - 3600)

    assert not is_alive(reused, datetime.now(UTC))


@pytest.mark.parametrize(("silent", "expected"), [(0, True), (100, True), (140, False), (86_400, False)])
def test_an_owner_on_another_host_is_judged_by_its_heartbeat(silent: int, expected: bool) -> None:
    owner = dataclasses.replace(new_owner(), host="another-host")

    assert is_alive(owner, datetime.now(UTC) - timedelta(seconds=silent)) is expected


def test_the_description_names_this_process_and_masks_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ranbench", "run", "--db", "postgresql://me:secret@host/db", "two words"])

    found = describe(CPU, 2, "plain")

    assert found.command == "ranbench run --db postgresql://me:***@host/db 'two words'"
    assert (found.device, found.threads, found.engine_path) == ("cpu", 2, "plain")
    assert (found.device_name, found.host, found.cores) == (found.cpu, socket.gethostname(), os.cpu_count())
    assert found.memory_bytes > 2**28
    assert found.dirty is (found.patch is not None)
    assert set(found.versions) <= set(PACKAGES)
    assert found.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_auto_takes_cuda_where_there_is_one_and_the_cpu_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for available in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        found.append((choose_device("auto").type, choose_device("cpu").type))

    assert found == [("cuda", "cpu"), ("cpu", "cpu")]


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(EnvironmentProblem) as caught:
        choose_device("cuda")

    assert caught.value.exit_code == 7
    assert str(caught.value) == "--device cuda: this machine has no usable CUDA device; use --device cpu or auto"


def test_peak_memory_of_the_cpu_is_that_of_this_process_in_bytes() -> None:
    import psutil

    assert psutil.Process().memory_info().rss * 0.5 < peak_memory_bytes() < psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12",
            "550.54.15",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n", "570.86.10"),
        ("something else\n", None),
        (None, None),
    ],
)
def test_the_version_of_the_driver_is_read_from_the_kernel(
    text: str | None, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "version"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(gpu, "_DRIVER", file)

    assert driver_version() == expected


def test_energy_is_that_of_nvml_in_joules_and_unknown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    asked = []
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: asked.append(name) or "handle",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"handle": 12_500}[handle],
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="a-b-c"))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    assert energy_joules(torch.device("cuda")) == 12.5
    assert asked == ["GPU-a-b-c"]
    assert energy_joules(CPU) is None

    def refuse(handle: str) -> int:
        raise NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = refuse
    assert energy_joules(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_joules(torch.device("cuda")) is None
