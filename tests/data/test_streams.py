"""Named random streams: a function of their key, independent of each other, and pinned for good."""

from __future__ import annotations

import pytest

from ranbench.data.streams import stream, stream_key, torch_seed


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
