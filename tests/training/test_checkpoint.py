"""Checkpoints: whole or not there, two kept, damage passed over, rare enough to cost nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ranbench.errors import CheckpointError
from ranbench.training import Checkpoints
from ranbench.training.checkpoint import Checkpoint, read_checkpoint, weights_bytes


def write(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.write({"net/weight": torch.full((2, 3), float(step))}, {"step": step, "best": [1.5, step]})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rename(path: Path) -> None:
    path.rename(path.with_name(f"{path.name[:9]}-{'0' * 16}.safetensors"))


DAMAGES = [flip_a_byte, truncate, empty, rename]


class Clock:
    """Stands in for the monotonic clock, and moves on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("ranbench.training.checkpoint.time.monotonic", found)
    return found


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    tensors = {
        "net/weight": torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(
            memory_format=torch.channels_last
        ),
        "net/count": torch.tensor(7),
        "window": torch.tensor([[float("inf"), -0.0]]),
    }
    values = {"step": 12, "seconds": 0.1 + 0.2, "best": (7.5, 9)}

    path = Checkpoints(tmp_path / "new").write(tensors, values)
    found = read_checkpoint(path)

    assert (found.step, found.values) == (12, {"step": 12, "seconds": 0.1 + 0.2, "best": [7.5, 9]})
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())
    assert all(found.tensors[name].dtype == value.dtype for name, value in tensors.items())


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)

    paths = [write(checkpoints, step) for step in (1, 20, 300)]

    assert names(tmp_path) == sorted(path.name for path in paths[1:])
    found, notes = checkpoints.newest()
    assert found is not None
    assert (found.step, notes) == (300, [])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_is_passed_over_with_one_note(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 10)
    damage(write(checkpoints, 20))

    found, notes = checkpoints.newest()

    assert isinstance(found, Checkpoint)
    assert (found.step, found.values["step"]) == (10, 10)
    assert torch.equal(found.tensors["net/weight"], torch.full((2, 3), 10.0))
    assert len(notes) == 1
    assert notes[0].startswith("000000020-")
    assert notes[0].endswith("damaged checkpoint, its content does not match its name; the one before it is tried")


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    paths = [write(checkpoints, step) for step in (10, 20)]
    for path in paths:
        flip_a_byte(path)

    found, notes = checkpoints.newest()

    assert found is None
    assert [note[:9] for note in notes] == ["000000020", "000000010"]


def test_after_damage_new_checkpoints_are_kept_though_their_steps_are_lower(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for path in [write(checkpoints, step) for step in (10, 20)]:
        flip_a_byte(path)
    checkpoints.newest()

    write(checkpoints, 5)

    found, _ = checkpoints.newest()
    assert found is not None
    assert found.step == 5


def test_one_beyond_what_is_recorded_is_passed_over_with_one_note_and_does_not_push_out_the_next(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path)
    kept, ahead = (write(checkpoints, step) for step in (10, 2000))

    found, notes = checkpoints.newest(1999)

    assert found is not None and found.step == 10
    assert notes == [
        f"{ahead.name}: holds iteration 2,000, beyond the 1,999 that are recorded; the one before it is tried"
    ]
    following = [write(checkpoints, step) for step in (11, 12)]
    assert names(tmp_path) == sorted([*(path.name for path in following), f"{ahead.name}.ahead"])
    assert not kept.exists()
    assert checkpoints.newest(11)[1] == [
        f"{following[1].name}: holds iteration 12, beyond the 11 that are recorded; the one before it is tried"
    ]
    checkpoints.clear()
    assert not tmp_path.exists()


def test_one_at_what_is_recorded_is_taken(tmp_path: Path) -> None:
    write(Checkpoints(tmp_path), 10)

    found, notes = Checkpoints(tmp_path).newest(10)

    assert found is not None
    assert (found.step, notes) == (10, [])


def test_a_folder_of_an_older_name_is_taken_over_with_all_that_lies_in_it(tmp_path: Path) -> None:
    older, checkpoints = tmp_path / "abc-1", Checkpoints(tmp_path / "abc-0123")
    paths = [write(Checkpoints(older), step) for step in (10, 20)]

    refused = checkpoints.take_over(older, 20)

    assert refused is None
    assert names(tmp_path) == ["abc-0123"]
    assert names(tmp_path / "abc-0123") == [path.name for path in paths]


def test_a_folder_of_an_older_name_is_left_alone_where_there_is_one_of_the_new(tmp_path: Path) -> None:
    older, checkpoints = tmp_path / "abc-1", Checkpoints(tmp_path / "abc-0123")
    write(Checkpoints(older), 10)
    write(checkpoints, 20)

    refused = checkpoints.take_over(older, 30)

    assert refused is None
    assert (len(names(older)), len(names(tmp_path / "abc-0123"))) == (1, 1)


def test_a_folder_of_an_older_name_that_is_further_than_what_is_recorded_is_anothers(tmp_path: Path) -> None:
    older, checkpoints = tmp_path / "abc-1", Checkpoints(tmp_path / "abc-0123")
    for step in (10, 20):
        write(Checkpoints(older), step)

    refused = checkpoints.take_over(older, 19)

    assert refused == (
        "abc-1: holds iteration 20, beyond the 19 that are recorded, so these are another attempt's; training begins "
        "anew"
    )
    assert (names(tmp_path), len(names(older))) == (["abc-1"], 2)


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir])
def test_where_nothing_lies_under_an_older_name_nothing_is_said(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "abc-1")

    assert Checkpoints(tmp_path / "abc-0123").take_over(tmp_path / "abc-1", 0) is None


def test_a_folder_that_cannot_be_renamed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Checkpoints(tmp_path / "abc-1"), 10)

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)

    refused = Checkpoints(tmp_path / "abc-0123").take_over(tmp_path / "abc-1", 10)

    assert refused == "abc-1: cannot be taken over: [Errno 13] Permission denied; training begins anew"


def test_a_checkpoint_renamed_to_another_step_is_refused(tmp_path: Path) -> None:
    path = write(Checkpoints(tmp_path), 10)
    other = path.rename(path.with_name("000000020" + path.name[9:]))

    with pytest.raises(CheckpointError, match="000000020"):
        read_checkpoint(other)


def test_a_file_without_a_checkpoints_name_is_refused(tmp_path: Path) -> None:
    path = write(Checkpoints(tmp_path), 10)
    other = path.rename(tmp_path / "mine.safetensors")

    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(other)

    assert caught.value.exit_code == 7
    assert str(caught.value) == "mine.safetensors: damaged checkpoint, its content does not match its name"


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^gone.safetensors: damaged checkpoint: .*No such file"):
        read_checkpoint(tmp_path / "gone.safetensors")


def test_partial_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = write(checkpoints, 10)
    (tmp_path / f"000000030-{'a' * 16}.safetensors.part").write_bytes(path.read_bytes()[:100])
    (tmp_path / "notes.safetensors").write_bytes(b"of someone else")

    found, notes = checkpoints.newest()

    assert found is not None
    assert (found.step, notes) == (10, [])


def test_a_folder_that_is_not_there_has_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").newest() == (None, [])


def test_a_full_disk_is_refused_and_older_checkpoints_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    before = {path.name: path.read_bytes() for path in (write(checkpoints, 10), write(checkpoints, 20))}

    def full(file: int) -> None:
        del file
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError) as caught:
        write(checkpoints, 30)

    assert caught.value.exit_code == 7
    assert str(caught.value).startswith(f"{tmp_path}/000000030-")
    assert str(caught.value).endswith(": cannot be written: [Errno 28] No space left on device")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_not_tried_again_at_once(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    clock.now += 5.0
    with pytest.raises(CheckpointError):
        write(checkpoints, 1)

    found = []
    done = clock.now
    for later in (0.0, 9.9, 10.0):
        clock.now = done + later
        found.append(checkpoints.due())

    assert found == [False, False, True]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(CheckpointError, match="cannot be written"):
        write(Checkpoints(tmp_path / "file" / "folder"), 10)


def test_the_first_checkpoint_is_due_after_two_seconds(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path)

    found = []
    for now in (1000.0, 1001.99, 1002.0, 1060.0):
        clock.now = now
        found.append(checkpoints.due())

    assert found == [False, False, True, True]


@pytest.mark.parametrize("sharing", [1, 4])
def test_all_runs_of_a_device_write_in_at_most_one_percent_of_the_time(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, sharing: int
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.sharing = sharing
    sync = os.fsync

    def slow(file: int) -> None:
        clock.now += 0.25  # twice: the file and its folder
        sync(file)

    monkeypatch.setattr(os, "fsync", slow)
    write(checkpoints, 1)
    done = clock.now

    found = []
    for later in (0.0, 2.0, 49.9 * sharing, 50.0 * sharing):
        clock.now = done + later
        found.append(checkpoints.due())

    assert found == [False, False, False, True]


def test_a_quick_checkpoint_is_followed_by_the_next_after_ten_seconds(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path)
    clock.now += 100
    write(checkpoints, 1)

    clock.now += 9.99
    early = checkpoints.due()
    clock.now += 0.01

    assert (early, checkpoints.due()) == (False, True)


def test_clear_deletes_the_folder_with_partial_files(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "attempt")
    write(checkpoints, 10)
    (tmp_path / "attempt" / "x.safetensors.part").write_bytes(b"")

    checkpoints.clear()
    checkpoints.clear()

    assert not (tmp_path / "attempt").exists()


def test_clear_leaves_files_of_others(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 10)
    (tmp_path / "mine.txt").write_text("kept")

    checkpoints.clear()

    assert names(tmp_path) == ["mine.txt"]


def test_weights_are_the_nets_alone_and_equal_for_equal_values() -> None:
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    plain = weights_bytes({"net/w": weight, "momentum/w": weight})

    assert plain == weights_bytes({"net/w": weight.to(memory_format=torch.channels_last)})
    assert plain != weights_bytes({"net/w": weight + 1})
