"""Labels among points: beside what they name, over nothing else, inside the picture."""

from __future__ import annotations

import random

from ranbench.report.placing import Box, Label, place

WITHIN = Box(0, 0, 400, 300)


def around(point: tuple[float, float]) -> Box:
    return Box(point[0] - 4, point[1] - 4, point[0] + 4, point[1] + 4)


def test_a_label_stands_to_the_right_of_its_point_where_there_is_room() -> None:
    (placed,) = place([Label(50, 10, ((100, 100),))], [around((100, 100))], WITHIN, 6)

    assert placed.box == Box(106, 95, 156, 105)
    assert placed.leads_to is None


def test_a_label_at_the_edge_stands_on_the_other_side() -> None:
    (placed,) = place([Label(50, 10, ((390, 100),))], [around((390, 100))], WITHIN, 6)

    assert placed.box.right == 384


def test_labels_of_close_points_cover_neither_each_other_nor_a_point() -> None:
    chance = random.Random(7)
    points = [(chance.uniform(60, 340), chance.uniform(40, 260)) for _ in range(14)]
    taken = [around(point) for point in points]

    placed = place([Label(60, 12, (point,)) for point in points], taken, WITHIN, 6)

    boxes = [one.box for one in placed]
    assert all(box.overlap(WITHIN) == (box.right - box.left) * (box.top - box.bottom) for box in boxes)
    assert sum(box.overlap(other) for box in boxes for other in taken) == 0
    assert sum(box.overlap(other) for box in boxes for other in boxes if other is not box) == 0


def test_a_label_that_must_stand_far_away_says_which_point_it_names() -> None:
    point = (200.0, 150.0)
    wall = Box(150, 130, 250, 170)

    (placed,) = place([Label(60, 12, (point,))], [wall], WITHIN, 6)

    assert placed.box.overlap(wall) == 0
    assert placed.leads_to == point


def test_without_any_room_a_label_stands_all_the_same() -> None:
    assert len(place([Label(900, 12, ((200, 150),))], [WITHIN], WITHIN, 6)) == 1
