"""On a GPU: a recorded step is the eager one, runs in queues of their own are as alone, an error touches one run."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ranbench.data.images import ImageSet
from ranbench.records import MetricPoint
from ranbench.training import EnginePath, Finished, Record, Stepped, Together, Training, room_beside
from ranbench.training.checkpoint import weights_bytes

from .conftest import Begin
from .test_equality import assert_equal_on_cifar, assert_equal_on_digits, losses_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="GPU PATHS NOT TESTED: no CUDA device"),
]

GPU = torch.device("cuda")
EAGER, GRAPH = EnginePath(), EnginePath(graph=True)
EXACT, EXACT_GRAPH = EnginePath(deterministic=True), EnginePath(graph=True, deterministic=True)
COMPILED = EnginePath(graph=True, compiled=True)

Result = tuple[list[MetricPoint], bytes, bytes]
FLOAT32 = torch.float32


def result(training: Training, records: list[Record]) -> Result:
    """Points, predictions and weights."""
    (finished,) = [record for record in records if isinstance(record, Finished)]
    points = [record for record in records if isinstance(record, MetricPoint)]
    return points, finished.predictions.classes, weights_bytes(training.state()[0])


def alone(training: Training) -> Result:
    return result(training, list(training.run()))


def together(*trainings: Training) -> tuple[dict[Training, list[Record]], dict[Training, Exception]]:
    """Train all at once to their ends; what each gave, and the errors."""
    records: dict[Training, list[Record]] = {training: [] for training in trainings}
    errors: dict[Training, Exception] = {}
    with Together(GPU) as session:
        session.members += trainings
        while session.members:
            for training, outcome in session.round():
                if isinstance(outcome, Exception):
                    errors[training] = outcome
                else:
                    records[training] += outcome
    return records, errors


def ways(begin: Begin, form: str, *paths: EnginePath) -> list[Callable[..., Training]]:
    return [lambda dtype, path=path, **changes: begin(form, path, dtype, device=GPU, **changes) for path in paths]


@pytest.mark.parametrize("paths", [(EAGER, GRAPH), (EXACT, EXACT_GRAPH)], ids=["default", "deterministic"])
@pytest.mark.parametrize(
    ("form", "assert_equal"), [("digits", assert_equal_on_digits), ("cifar", assert_equal_on_cifar)]
)
def test_a_graph_equals_eager(
    begin: Begin, form: str, assert_equal: Callable[..., None], paths: tuple[EnginePath, EnginePath]
) -> None:
    assert_equal(*ways(begin, form, *paths))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "assert_equal"), [("digits", assert_equal_on_digits), ("cifar", assert_equal_on_cifar)]
)
def test_a_compiled_graph_equals_eager(begin: Begin, form: str, assert_equal: Callable[..., None]) -> None:
    assert_equal(*ways(begin, form, EAGER, COMPILED))


def test_in_deterministic_mode_graph_and_eager_give_the_same_bits(begin: Begin) -> None:
    """The same kernels on the same numbers, whoever launches them."""
    eager, graph, again = (
        alone(begin("digits", path, FLOAT32, device=GPU, iterations=12, evaluation={"every": 5}))
        for path in (EXACT, EXACT_GRAPH, EXACT_GRAPH)
    )

    assert graph == again
    assert graph == eager


def test_a_gpu_agrees_with_a_cpu_in_float64(begin: Begin) -> None:
    """The same images, weights and rates; the rate of a GPU is rounded to float32."""
    gpu, cpu = (losses_of(begin(device=device, path=EAGER), 10) for device in (GPU, torch.device("cpu")))

    assert gpu == pytest.approx(cpu, rel=1e-5, abs=0)


@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_graph_resumed_from_a_state_equals_undisturbed(begin: Begin, step: int) -> None:
    def make() -> Training:
        return begin("digits", EXACT_GRAPH, FLOAT32, device=GPU, iterations=12, evaluation={"every": 5})

    expected = alone(make())
    stopped, resumed = make(), make()
    points = []
    for record in stopped.run():
        if isinstance(record, MetricPoint):
            points.append(record)
        if record == Stepped(step):
            break
    tensors, values = stopped.state()
    held = {name: value.detach().cpu().clone() for name, value in tensors.items()}

    resumed.load_state(held, values)
    rest, predictions, weights = alone(resumed)

    assert (points + rest, predictions, weights) == expected


def test_a_state_loaded_into_a_training_whose_step_is_recorded_is_gone_on_from(begin: Begin) -> None:
    """The graph reads and writes places; loading must fill these and make no others."""
    training = begin("digits", EXACT_GRAPH, FLOAT32, device=GPU)
    tensors, values = training.state()
    held = {name: value.detach().cpu().clone() for name, value in tensors.items()}
    first = losses_of(training, 6)

    training.load_state(held, values)

    assert losses_of(training, 6) == first


@pytest.mark.parametrize("path", [EXACT, EXACT_GRAPH], ids=str)
def test_trainings_in_queues_of_their_own_give_the_bits_of_each_alone(begin: Begin, path: EnginePath) -> None:
    def make(seed: int) -> Training:
        return begin("digits", path, FLOAT32, device=GPU, seed=seed, iterations=20, evaluation={"every": 6})

    expected = [alone(make(seed)) for seed in range(3)]
    trainings = [make(seed) for seed in range(3)]

    records, errors = together(*trainings)

    assert not errors
    assert [result(training, records[training]) for training in trainings] == expected
    assert len({training.stream.cuda_stream for training in trainings if training.stream}) == 3


def test_a_training_that_joins_while_others_replay_is_recorded_beside_them(begin: Begin) -> None:
    def make(seed: int) -> Training:
        return begin("digits", EXACT_GRAPH, FLOAT32, device=GPU, seed=seed, iterations=20, evaluation={"every": 20})

    expected = [alone(make(seed)) for seed in range(2)]
    first, second = make(0), make(1)
    records: dict[Training, list[Record]] = {first: [], second: []}
    with Together(GPU) as session:
        session.members.append(first)
        for number in range(100):
            if number == 7:
                session.members.append(second)
            for training, outcome in session.round():
                assert isinstance(outcome, list)
                records[training] += outcome
            if not session.members:
                break

    assert [result(training, records[training]) for training in (first, second)] == expected


def test_a_partial_batch_is_taken_beside_a_recorded_step(begin: Begin, digits: ImageSet) -> None:
    """40 images at batch 16: two batches by the graph, one of 8 by the same step, not recorded."""
    few = dataclasses.replace(digits, train_images=digits.train_images[:40], train_labels=digits.train_labels[:40])
    eager, graph = (begin(path=path, images=few, device=GPU, last_batch="partial") for path in (EXACT, EXACT_GRAPH))
    sizes: list[int] = []
    graph.net.register_forward_hook(lambda _module, _inputs, out: sizes.append(len(out)))

    expected, found = losses_of(eager), losses_of(graph)

    assert found == pytest.approx(expected, rel=1e-6, abs=0)
    assert sizes.count(8) == 16  # every third of 50 steps; the graph's own were seen while it was recorded
    assert set(sizes[: sizes.index(8)]) == {16}
    assert sizes.count(16) < 8


def test_many_iterations_are_replayed_without_a_look_of_the_host(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across the border of a block of rows, with one point for all."""
    training = begin("digits", EXACT_GRAPH, FLOAT32, device=GPU, iterations=600, evaluation={"every": 600})
    plain = begin("digits", EXACT, FLOAT32, device=GPU, iterations=600, evaluation={"every": 600})
    expected = losses_of(plain, 300)
    training.every, training.window = 300, torch.zeros(300, 2, device=GPU)
    for _ in range(5):
        training.take_step()  # rehearsed, recorded, and libraries are awake

    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(294):
            training.take_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    points = training.take_step()

    assert points[0].value == pytest.approx(sum(expected) / 300, rel=1e-6)


@pytest.mark.parametrize("path", [EAGER, EXACT_GRAPH], ids=str)
def test_what_one_run_lacks_of_memory_leaves_the_other(begin: Begin, path: EnginePath) -> None:
    def make(seed: int) -> Training:
        return begin("digits", path, FLOAT32, device=GPU, seed=seed, iterations=12, evaluation={"every": 12})

    expected = alone(make(0)) if path.deterministic else None
    good, bad = make(0), make(1)

    def swell(_module: nn.Module, _inputs: object, _out: object) -> None:
        if bad.step >= 3 or path.graph:  # a graph: in its rehearsal
            torch.empty(2**50, device=GPU)

    bad.net.register_forward_hook(swell)

    records, errors = together(bad, good)

    assert errors.keys() == {bad}
    assert isinstance(errors[bad], torch.OutOfMemoryError)
    found = result(good, records[good])
    assert expected is None or found == expected


def test_memory_that_is_lacking_while_a_step_is_recorded_leaves_the_others_and_later_recordings(begin: Begin) -> None:
    def make(seed: int) -> Training:
        return begin("digits", EXACT_GRAPH, FLOAT32, device=GPU, seed=seed, iterations=8, evaluation={"every": 8})

    expected = [alone(make(seed)) for seed in (0, 2)]
    good, bad, later = make(0), make(1), make(2)

    def swell(_module: nn.Module, _inputs: object, _out: object) -> None:
        if torch.cuda.is_current_stream_capturing():
            torch.empty(2**50, device=GPU)

    bad.net.register_forward_hook(swell)

    records, errors = together(good, bad)
    del bad

    assert [type(error) for error in errors.values()] == [torch.OutOfMemoryError]
    assert [result(good, records[good]), alone(later)] == expected


def test_runs_of_one_device_share_images_and_preparation_however_it_is_named(digits: ImageSet, begin: Begin) -> None:
    there = digits.to(GPU)

    first, second = (begin(images=there, device=GPU, path=EAGER, seed=seed) for seed in (0, 1))

    assert there.to(GPU) is there.to(torch.device("cuda", torch.cuda.current_device())) is there
    assert first.images is second.images is there
    assert first.prepare is second.prepare


def held() -> int:
    """Bytes of a GPU that tensors hold, without what cuBLAS keeps for each queue of the device."""
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()
    return torch.cuda.memory_allocated()


def test_a_finished_run_gives_its_memory_back_at_once(begin: Begin, digits: ImageSet) -> None:
    there = digits.to(GPU)
    alone(begin("digits", GRAPH, FLOAT32, device=GPU, images=there, iterations=3, evaluation={"every": 3}))
    gc.collect()
    before = held()
    gc.disable()

    try:
        for seed in range(3):
            training = begin(
                "digits", GRAPH, FLOAT32, device=GPU, images=there, seed=seed, iterations=3, evaluation={"every": 3}
            )
            alone(training)
            del training
        found = held()
    finally:
        gc.enable()

    assert found <= before + 2**20


def test_as_many_runs_fit_as_the_free_memory_holds() -> None:
    free, _ = torch.cuda.mem_get_info()

    found = [room_beside(GPU, size) for size in (1, free, free // 4)]

    assert found[:2] == [15, 0]
    assert found[2] in {2, 3}


def test_the_time_of_queued_steps_is_training_time_before_an_evaluation(begin: Begin) -> None:
    """Without a wait before it, an evaluation would take the time of all steps that are still in the queue."""
    training = begin("digits", GRAPH, FLOAT32, device=GPU, iterations=3_000, evaluation={"every": 5})
    assert training.every == 3
    for _ in range(5):
        training.take_step()

    assert training.stream is not None
    assert training.stream.query()
