"""Which way a step takes and in which arithmetic: chosen by a table, read back from records, refused where missing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ranbench.data.images import ImageSet
from ranbench.errors import EnvironmentProblem
from ranbench.spec import Protocol
from ranbench.training import PATHS, Arithmetic, EnginePath, choose_path
from ranbench.training.checkpoint import weights_bytes
from ranbench.training.compiler import compiler_fault

from .conftest import Start

CPU, CUDA = torch.device("cpu"), torch.device("cuda")  # naming a device needs none
OURS, FOREIGN = False, True

PLAIN = [
    (CPU, OURS, "auto", "eager, channels_last"),
    (CPU, OURS, "eager", "eager, channels_last"),
    (CPU, OURS, "compiled", "compiled, channels_last"),
    (CUDA, OURS, "auto", "graph, channels_last"),
    (CUDA, OURS, "eager", "eager, channels_last"),
    (CUDA, OURS, "graph", "graph, channels_last"),
    (CUDA, OURS, "compiled", "compiled graph, channels_last"),
    *((device, FOREIGN, wanted, "eager, contiguous") for device in (CPU, CUDA) for wanted in PATHS),
]

ALL = [
    EnginePath(graph, compiled, channels_last, deterministic)
    for graph in (False, True)
    for compiled in (False, True)
    for channels_last in (False, True)
    for deterministic in (False, True)
]


@pytest.mark.parametrize(("device", "foreign", "wanted", "expected"), PLAIN)
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_path_is_chosen_by_this_table(
    device: torch.device, foreign: bool, wanted: str, expected: str, deterministic: bool
) -> None:
    found = choose_path(wanted, device, foreign=foreign, deterministic=deterministic)

    assert str(found) == expected + (", deterministic" if deterministic else "")
    assert found.possible_on(device)


def test_the_table_holds_every_wish() -> None:
    refused = {(CPU, OURS, "graph")}

    told = {(device, foreign, wanted) for device, foreign, wanted, _ in PLAIN}

    every = {(device, foreign, wanted) for device in (CPU, CUDA) for foreign in (OURS, FOREIGN) for wanted in PATHS}
    assert told == every - refused


def test_a_graph_on_a_cpu_is_refused_in_one_line() -> None:
    with pytest.raises(EnvironmentProblem) as refused:
        choose_path("graph", CPU, foreign=False)

    assert refused.value.exit_code == 7
    assert str(refused.value) == ("--path graph: CUDA graphs need a CUDA device; use --path auto, eager or compiled")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="COMPILING NOT TESTED: no g++")
def test_with_a_compiler_nothing_is_at_fault() -> None:
    assert compiler_fault(CPU) is None


@pytest.mark.parametrize("path", ALL, ids=str)
def test_the_words_of_a_path_read_back_as_that_path(path: EnginePath) -> None:
    assert EnginePath.parse(str(path)) == path


def test_no_two_paths_have_the_same_words() -> None:
    assert len({str(path) for path in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("eager, channels_last", EnginePath()),
        ("eager, contiguous", EnginePath(channels_last=False)),
    ],
)
def test_what_earlier_versions_recorded_reads_back(recorded: str, expected: EnginePath) -> None:
    assert EnginePath.parse(recorded) == expected
    assert str(expected) == recorded


def test_words_say_the_memory_format_of_weights_and_images() -> None:
    formats = [EnginePath.parse(words).memory_format for words in ("graph, channels_last", "eager, contiguous")]

    assert formats == [torch.channels_last, torch.contiguous_format]


@pytest.mark.parametrize(("path", "possible"), [(EnginePath(), True), (EnginePath(graph=True), False)])
def test_a_cpu_takes_every_path_but_a_graph(path: EnginePath, possible: bool) -> None:
    assert path.possible_on(CPU) is possible
    assert path.possible_on(CUDA)


def test_tf32_on_a_cpu_is_refused_in_one_line() -> None:
    with pytest.raises(EnvironmentProblem) as refused:
        Arithmetic("tf32", CPU)

    assert refused.value.exit_code == 7
    assert str(refused.value) == (
        "precision tf32: only CUDA devices have it; use --device cuda, or a protocol of precision float32"
    )


def test_a_training_in_tf32_on_a_cpu_is_refused(start: Start, protocol: Protocol) -> None:
    with pytest.raises(EnvironmentProblem, match=r"^precision tf32: only CUDA devices have it"):
        start(protocol=protocol.model_copy(update={"precision": "tf32"}))


def switches() -> tuple[object, ...]:
    """Everything of the process that an arithmetic sets."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
    )


@pytest.fixture
def cuda_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Arithmetic]:
    """Makes the arithmetic of a GPU, which needs none; what it tells cuBLAS is forgotten after the test."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    return lambda precision, **options: Arithmetic(precision, CUDA, **options)


@pytest.mark.parametrize(("precision", "convolutions"), [("float32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_float32_is_exact_on_a_gpu_but_for_convolutions_in_tf32(
    cuda_arithmetic: Callable[..., Arithmetic], precision: str, convolutions: str
) -> None:
    before = switches()

    with cuda_arithmetic(precision)():
        inside = switches()

    assert inside == (*before[:2], convolutions, "ieee")
    assert switches() == before


def test_deterministic_mode_sets_its_switches_for_its_steps_only(
    cuda_arithmetic: Callable[..., Arithmetic],
) -> None:
    before = switches()

    with cuda_arithmetic("float32", deterministic=True)():
        inside = switches()

    assert inside[:2] == (True, True)
    assert switches() == before


def test_the_switches_are_put_back_after_an_error(cuda_arithmetic: Callable[..., Arithmetic]) -> None:
    before = switches()

    with pytest.raises(MemoryError), cuda_arithmetic("tf32", deterministic=True)():
        raise MemoryError

    assert switches() == before


def test_switches_that_the_caller_had_set_are_put_back(cuda_arithmetic: Callable[..., Arithmetic]) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with cuda_arithmetic("float32", deterministic=True)():
            pass
        found = switches()[0]
    finally:
        torch.use_deterministic_algorithms(False)

    assert found is True


def test_two_threads_in_deterministic_mode_leave_no_switch_set() -> None:
    """One run begins its step while the other is in its own, and ends it later."""
    first, second = (Arithmetic("float32", CPU, deterministic=True)() for _ in range(2))
    before = switches()

    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    between = switches()
    second.__exit__(None, None, None)

    assert between[0] is True
    assert switches() == before


def test_deterministic_mode_tells_cublas_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    Arithmetic("float32", CUDA)
    plain = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    Arithmetic("float32", CUDA, deterministic=True)

    assert plain is None
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_only_bf16_casts_and_it_keeps_no_casts() -> None:
    """A cast that is kept would be that of an old weight in a recorded step."""
    found = {name: Arithmetic(name, CPU).autocast() for name in ("float32", "bf16")}

    with found["float32"]:
        assert not torch.is_autocast_enabled("cpu")
    with found["bf16"]:
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16
        assert not torch.is_autocast_cache_enabled()


def test_bf16_convolves_in_bfloat16_and_keeps_the_rest_in_float32(start: Start, protocol: Protocol) -> None:
    training = start(protocol=protocol.model_copy(update={"precision": "bf16"}))
    seen: dict[str, torch.dtype] = {}
    for name, module in training.net.named_modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(lambda _module, _inputs, out, name=name: seen.update({name: out.dtype}))

    points = [training.take_step() for _ in range(3)]

    tensors, _ = training.state()
    convolved = {seen[name] for name, module in training.net.named_modules() if isinstance(module, nn.Conv2d)}
    kept = {value.dtype for value in tensors.values() if value.is_floating_point()}
    statistics = {value.dtype for name, value in tensors.items() if name.endswith(("running_mean", "running_var"))}
    assert convolved == {torch.bfloat16}
    assert kept == statistics == {torch.float32}
    assert training.window.dtype is torch.float32
    assert all(
        parameter.grad is not None and parameter.grad.dtype is torch.float32 for parameter in training.net.parameters()
    )
    assert [point.name for point in points[0]] == ["train_loss", "train_error_pct", "lr"]


def test_bf16_learns_and_is_not_float32_by_another_name(start: Start, protocol: Protocol, digits: ImageSet) -> None:
    few = dataclasses.replace(digits, train_images=digits.train_images[:32], train_labels=digits.train_labels[:32])
    content = protocol.model_dump(mode="json") | {
        "schedule": {"kind": "steps", "lr": 0.05, "drops": [], "factor": 0.1},
        "augmentation": {"mean": "image", "pad": 0, "flip": False},
        "iterations": 25,
    }
    runs = {
        precision: start(protocol=Protocol.model_validate(content | {"precision": precision}), images=few)
        for precision in ("float32", "bf16")
    }

    losses = {precision: [training.take_step()[0].value for _ in range(25)] for precision, training in runs.items()}

    assert losses["bf16"][-1] < 0.5 * losses["bf16"][0]
    assert losses["bf16"][0] == pytest.approx(losses["float32"][0], rel=0.03)
    assert weights_bytes(runs["bf16"].state()[0]) != weights_bytes(runs["float32"].state()[0])
