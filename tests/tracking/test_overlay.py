"""What a tracked frame looks like."""

import numpy as np

from aerostat.draw.palette import class_colour
from aerostat.results.detections import Detections
from aerostat.tracking.counting import Line, Zone
from aerostat.tracking.overlay import Overlay, Trails
from aerostat.tracking.track_log import LogOptions, TrackLog


def seen(*tracks: tuple[int, float, float]) -> Detections:
    boxes = np.asarray([[x - 10, y - 10, x + 10, y + 10] for _, x, y in tracks]).reshape(-1, 4)
    count = len(tracks)
    return Detections(
        boxes, [0.9] * count, [0] * count, ("kite",), track_ids=np.asarray([t for t, _, _ in tracks], int)
    )


def test_trails_keep_the_last_points_of_each_track() -> None:
    trails = Trails(frames=3)
    for step in range(5):
        trails.update(seen((7, 10 * step, 5)))
    ((number, points),) = trails.overlay(TrackLog()).trails
    assert number == 7
    assert points.tolist() == [[20, 5], [30, 5], [40, 5]]


def test_a_track_that_is_gone_loses_its_trail_point_by_point() -> None:
    trails = Trails(frames=2)
    trails.update(seen((7, 0, 0), (8, 50, 50)))
    trails.update(seen((8, 51, 50)))
    assert [number for number, _ in trails.overlay(TrackLog()).trails] == [7, 8]
    trails.update(seen((8, 52, 50)))
    assert [number for number, _ in trails.overlay(TrackLog()).trails] == [8]


def test_an_overlay_stays_as_it_is_when_the_next_frame_comes() -> None:
    log = TrackLog(LogOptions([Line((50, 100), (50, 0))], [Zone(((0, 0), (40, 0), (40, 90)))]))
    trails = Trails()
    log.update(seen((1, 30, 20)))
    trails.update(seen((1, 30, 20)))
    first = trails.overlay(log)
    log.update(seen((1, 70, 20)))
    trails.update(seen((1, 70, 20)))
    assert len(first.trails[0][1]) == 1
    assert first.lines[0][1].ins == 0
    assert first.zones[0][1].inside == 1
    assert trails.overlay(log).lines[0][1].ins == 1


def test_a_frame_shows_the_track_in_its_colour_and_leaves_the_image_alone() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    log, trails = TrackLog(LogOptions([Line((150, 200), (150, 0))])), Trails()
    for x in (60, 90, 120):
        found = seen((5, x, 100))
        log.update(found)
        trails.update(found)
    drawn = trails.overlay(log).draw(image, found)
    assert (image == 90).all()
    assert (drawn[100, 70] == class_colour(5)).all()  # the trail, behind the box
    plain = found.draw(image).image_bgr
    assert (plain[100, 70] == 90).all()
    assert (plain == class_colour(5)).all(axis=2).sum() > 100  # the box


def test_nothing_is_drawn_of_nothing() -> None:
    image = np.full((50, 60, 3), 90, np.uint8)
    assert (Overlay().draw(image, Detections.empty(["kite"])) == 90).all()
