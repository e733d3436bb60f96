"""Named random streams: a function of their key, independent of each other, and pinned for good."""

from __future__ import annotations

import pytest
import torch

from ranbench.data.streams import global_stream, stream, stream_key, torch_seed


def first(seed: int, name: str, *numbers: int) -> list[int]:
    return stream(seed, name, *numbers).integers(0, 2**63, size=4).tolist()


def test_the_same_key_gives_the_same_draws() -> None:
    assert first(3, "crop", 7) == first(3, "crop", 7)


@pytest.mark.parametrize(
    ("seed", "name", "numbers"),
    [(4, "crop", (7,)), (3, "flip", (7,)), (3, "crop", (8,)), (3, "crop", ()), (3, "crop", (7, 0)), (37, "crop", ())],
)
def test_another_key_gives_other_draws(seed: int, name: str, numbers: tuple[int, ...]) -> None:
    assert first(seed, name, *numbers) != first(3, "crop", 7)


def test_drawing_one_stream_never_shifts_another() -> None:
    expected = first(0, "order", 0)
    order = stream(0, "order", 0)

    stream(0, "crop", 0).random(1000)
    stream(0, "order", 1).random(1000)

    assert order.integers(0, 2**63, size=4).tolist() == expected


def test_the_first_draws_never_move() -> None:
    """Stored results rest on these values: a change here makes every old run another run."""
    assert stream_key(0, "order", 0) == 276454749504018148491007843186604607255
    assert first(0, "order", 0) == [9007634038034198145, 1424198308198060968, 7699862705005233550, 327621808686658546]
    assert stream(0, "order", 0).permutation(10).tolist() == [6, 5, 9, 8, 7, 3, 4, 1, 0, 2]
    assert torch_seed(0, "init") == 5550895030141512153


def test_a_torch_seed_fits_63_bits() -> None:
    assert all(0 <= torch_seed(seed, "init") < 2**63 for seed in range(200))


def drawn(seed: int, name: str, *numbers: int) -> list[float]:
    """What code draws that knows of no generator."""
    with global_stream(seed, name, *numbers):
        return torch.rand(4).tolist()


def test_a_global_stream_gives_the_same_draws_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first_draws = drawn(3, "forward", 7)
    torch.manual_seed(2)
    torch.rand(100)

    assert drawn(3, "forward", 7) == first_draws


@pytest.mark.parametrize(("seed", "name", "numbers"), [(4, "forward", (7,)), (3, "init", (7,)), (3, "forward", (8,))])
def test_another_global_stream_gives_other_draws(seed: int, name: str, numbers: tuple[int, ...]) -> None:
    assert drawn(seed, name, *numbers) != drawn(3, "forward", 7)


def test_a_global_stream_puts_the_global_state_back_also_after_an_error() -> None:
    before = torch.get_rng_state()

    with pytest.raises(ValueError, match="stop"), global_stream(3, "forward", 7):
        torch.rand(4)
        raise ValueError("stop")

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_a_global_stream_holds_on_cuda_devices_too() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.init()
    before = torch.cuda.get_rng_state()

    with global_stream(3, "forward", 7):
        first_draws = torch.rand(4, device="cuda").tolist()
    with global_stream(3, "forward", 7):
        again = torch.rand(4, device="cuda").tolist()

    assert first_draws == again
    assert torch.equal(torch.cuda.get_rng_state(), before)
