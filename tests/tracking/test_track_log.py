"""The table of tracks, counts at lines and stays in zones, worked by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.results.detections import Detections
from aerostat.tracking.counting import Line, Zone
from aerostat.tracking.track_log import LogOptions, TrackLog

DOOR = Line((10, 20), (10, 0), "door")
DESK = Zone(((0, 0), (9, 0), (9, 20), (0, 20)), "desk")


def seen(places: dict[int, tuple[float, float]], label: int = 0, score: float = 0.5) -> Detections:
    """Return detections with boxes of 2 x 2 pixels around the points of tracks."""
    boxes = [[x - 1, y - 1, x + 1, y + 1] for x, y in places.values()]
    count = len(places)
    return Detections(
        np.asarray(boxes).reshape(-1, 4),
        [score] * count,
        [label] * count,
        ("kite", "bird"),
        image_size=(100, 50),
        track_ids=np.asarray(list(places), np.int64),
    )


def test_a_track_has_its_first_and_last_frame_its_path_and_its_mean_score() -> None:
    log = TrackLog()
    log.update(seen({7: (0, 0)}, score=0.5), 3, 0.3)
    log.update(seen({7: (3, 4)}, score=1.0), 4, 0.4)
    log.update(seen({7: (3, 10)}, score=0.75), 9, 0.9)
    (row,) = log.rows()
    assert (row.track_id, row.name, row.first_frame, row.last_frame, row.frames) == (7, "kite", 3, 9, 3)
    assert (row.first_s, row.last_s) == (0.3, 0.9)
    assert row.path_length == 11
    assert row.mean_score == pytest.approx(0.75)


def test_crossings_are_counted_by_line_track_and_class() -> None:
    log = TrackLog(LogOptions([DOOR]))
    for one, other in [((5, 5), (15, 8)), ((15, 5), (5, 8)), ((5, 5), (5, 9))]:
        first, second = seen({1: one}), seen({2: other}, label=1)
        log.update(Detections.concatenate([first, second]))
    (count,) = log.line_counts()
    assert (count.ins, count.outs) == (1, 2)
    assert count.by_class == {"kite": (1, 1), "bird": (0, 1)}
    assert [row.crossings for row in log.rows()] == [{"door": (1, 1)}, {"door": (0, 1)}]


def test_a_crossing_during_a_gap_counts_once_when_the_track_is_back() -> None:
    log = TrackLog(LogOptions([DOOR]))
    log.update(seen({1: (5, 5)}))
    for _ in range(10):
        log.update(seen({}))
    log.update(seen({1: (15, 5)}))
    assert log.line_counts()[0].ins == 1


def test_a_new_track_beyond_the_line_is_no_crossing() -> None:
    log = TrackLog(LogOptions([DOOR]))
    log.update(seen({1: (5, 5)}))
    log.update(seen({2: (15, 5)}))
    assert (log.line_counts()[0].ins, log.line_counts()[0].outs) == (0, 0)


def test_a_stay_lasts_from_one_point_inside_to_the_next() -> None:
    log = TrackLog(LogOptions(zones=[DESK]))
    # Inside at 0.0, 0.5 and 1.5 s; outside at 2.0; inside at 3.0 and, after a gap, at 6.0 s.
    for frame, (time_s, x) in enumerate([(0, 5), (0.5, 6), (1.5, 5), (2, 30), (3, 5)]):
        log.update(seen({1: (x, 5)}), frame, time_s)
    log.update(seen({1: (5, 5)}), 10, 6.0)
    assert log.rows()[0].stays == {"desk": (2 + 6, 1.5 + 3.0)}
    (count,) = log.zone_counts()
    assert (count.inside, count.visited, count.mean_frames, count.mean_s) == (1, 1, 8, 4.5)


def test_a_zone_counts_who_is_inside_now_and_who_ever_was() -> None:
    log = TrackLog(LogOptions(zones=[DESK]))
    log.update(seen({1: (5, 5), 2: (50, 5), 3: (5, 9)}))
    assert (log.zone_counts()[0].inside, log.zone_counts()[0].visited) == (2, 2)
    log.update(seen({1: (50, 5), 2: (5, 5)}))
    assert (log.zone_counts()[0].inside, log.zone_counts()[0].visited) == (1, 3)
    log.update(seen({}))
    assert (log.zone_counts()[0].inside, log.zone_counts()[0].visited) == (0, 3)
    assert log.zone_counts()[0].by_class == {"kite": 3}


def test_without_times_stays_are_counted_in_frames() -> None:
    log = TrackLog(LogOptions(zones=[DESK]))
    log.update(seen({1: (5, 5)}))
    log.update(seen({1: (5, 5)}))
    assert log.rows()[0].stays == {"desk": (1, None)}
    assert log.zone_counts()[0].describe() == "desk: 1 track, 1.0 frames on average"


def test_feet_count_where_they_are_asked_for() -> None:
    zone = Zone(((0, 0), (50, 0), (50, 10), (0, 10)), "upper")
    for anchor, inside in (("centre", 1), ("bottom", 0)):
        log = TrackLog(LogOptions(zones=[zone], anchor=anchor))
        log.update(seen({1: (5, 9.5)}))
        assert log.zone_counts()[0].inside == inside


def test_a_video_without_tracks_has_an_empty_table() -> None:
    log = TrackLog(LogOptions([DOOR], [DESK]))
    log.update(seen({}))
    assert log.rows() == []
    assert log.line_counts()[0].describe() == "door: 0 in, 0 out"
    assert log.zone_counts()[0].describe() == "desk: 0 tracks, 0.0 s on average"


def test_thousands_of_tracks_keep_their_own_rows() -> None:
    log = TrackLog(LogOptions([DOOR], [DESK]))
    count = 5000
    for shift in range(4):
        order = np.random.default_rng(shift).permutation(count)
        log.update(seen({int(each): (5 + 2 * shift, each % 30) for each in order}))
    rows = sorted(log.rows(), key=lambda row: row.track_id)
    assert [row.track_id for row in rows] == list(range(count))
    assert all(row.frames == 4 and row.path_length == 6 for row in rows)
    assert [row.crossings["door"][0] for row in rows] == [int(each % 30 <= 20) for each in range(count)]


def test_the_table_is_written_as_csv(tmp_path: Path) -> None:
    log = TrackLog(LogOptions([DOOR], [DESK]))
    log.update(seen({3: (5, 5)}), 0, 0.0)
    log.update(seen({3: (15, 5)}), 1, 0.1)
    log.update(seen({4: (5, 5)}), 2)
    with log.save(tmp_path / "tracks.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "track_id": "3",
        "class": "kite",
        "first_frame": "0",
        "last_frame": "1",
        "first_time_s": "0.0",
        "last_time_s": "0.1",
        "frames": "2",
        "path_length": "10.0",
        "mean_score": "0.5",
        "door_in": "1",
        "door_out": "0",
        "desk_frames": "0",
        "desk_s": "0.0",
    }
    assert (second["first_time_s"], second["desk_s"]) == ("", "")
    assert json.loads(json.dumps(log.to_dict()))["lines"] == [
        {"name": "door", "in": 1, "out": 0, "classes": {"kite": {"in": 1, "out": 0}}}
    ]


def test_places_outside_of_the_picture_are_refused_with_the_first_frame() -> None:
    log = TrackLog(LogOptions(zones=[Zone(((0, 0), (400, 0), (400, 40)))]))
    with pytest.raises(InputError, match="found the point 400,0 outside"):
        log.update(seen({1: (5, 5)}))


def test_two_places_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="'desk' twice"):
        LogOptions([Line((0, 0), (1, 1), "desk")], [DESK])


def test_detections_without_identities_are_refused() -> None:
    with pytest.raises(InputError, match="`track_ids`"):
        TrackLog().update(Detections.empty(["kite"]))


def test_one_identity_twice_in_a_frame_is_refused() -> None:
    both = Detections.concatenate([seen({1: (5, 5)}), seen({1: (9, 9)})])
    with pytest.raises(InputError, match="with 1 twice"):
        TrackLog().update(both)


def test_frames_do_not_go_back() -> None:
    log = TrackLog()
    log.update(seen({1: (5, 5)}), 4)
    with pytest.raises(InputError, match="after 4"):
        log.update(seen({1: (5, 5)}), 4)


@given(
    st.lists(
        st.dictionaries(
            st.integers(0, 5), st.tuples(st.integers(4, 16), st.integers(0, 25)), min_size=0, max_size=4
        ),
        min_size=1,
        max_size=12,
    )
)
def test_counts_are_the_sums_of_the_rows(frames: list[dict[int, tuple[int, int]]]) -> None:
    log = TrackLog(LogOptions([DOOR], [DESK]))
    for number, places in enumerate(frames):
        log.update(seen(places), number, number / 2)
    rows = log.rows()
    (line,), (zone,) = log.line_counts(), log.zone_counts()
    assert line.ins == sum(row.crossings["door"][0] for row in rows)
    assert line.outs == sum(row.crossings["door"][1] for row in rows)
    assert zone.mean_frames * max(zone.visited, 1) == pytest.approx(sum(row.stays["desk"][0] for row in rows))
    assert (zone.mean_s or 0.0) == pytest.approx(zone.mean_frames / 2)
    points = np.asarray(list(frames[-1].values()), np.float64).reshape(-1, 2)
    assert zone.inside == DESK.contains(points).sum()
    ever = {each for places in frames for each, (x, y) in places.items() if 0 <= x <= 9 and 0 <= y <= 20}
    assert zone.visited == len(ever)
