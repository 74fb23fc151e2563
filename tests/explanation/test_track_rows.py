"""Rows and means of the maps of tracks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from aerostat.explanation.along_tracks import TrackMap, TrackMeasures
from aerostat.explanation.faithfulness import Curve, Measures
from aerostat.explanation.track_rows import COLUMNS, MapRows, MapSummary, row_of
from aerostat.images.frame import Clip, Frame
from aerostat.images.letterbox import Letterbox
from aerostat.results.detections import Detection, Detections

FRAME = Frame(np.zeros((20, 30, 3), np.uint8), "hall", 12, 1.2, clip=Clip("hall, old.mp4", "hall", 10.0))
NOTHING = Detections.empty(("kite",))


def measures(inside: float, deletion: float, insertion: float) -> Measures:
    curves = [Curve(np.asarray([0.0, 1.0]), np.asarray([area, area])) for area in (deletion, insertion)]
    return Measures(inside, *curves)


FULL = TrackMap(
    Detection((1.0, 2.0, 11.0, 12.126), 0.81236, 0, "kite", 5),
    np.zeros((20, 30), np.float32),
    Letterbox.fit((30, 20), (30, 30)),
    "box",
    12,
    0,
    measures=TrackMeasures(None, measures(0.8, 0.1, 0.9), measures(0.9, 0.2, 0.7)),
)
CARRIED = replace(
    FULL,
    reason=None,
    source_frame=9,
    age=3,
    likeness=0.7,
    measures=TrackMeasures(measures(0.7, 0.15, 0.85), measures(0.8, 0.1, 0.9), measures(0.9, 0.2, 0.7)),
)


def test_a_row_says_which_map_it_is_about_and_what_was_measured() -> None:
    row = row_of(FRAME, CARRIED)
    assert tuple(row) == COLUMNS
    assert (row["frame"], row["time_s"], row["track_id"]) == (12, 1.2, 5)
    assert (row["score"], row["y2"]) == (0.8124, 12.13)
    assert (row["map"], row["reason"], row["source_frame"], row["age"]) == ("carried", None, 9, 3)
    assert (row["carried_inside"], row["full_deletion"], row["bell_insertion"]) == (0.7, 0.1, 0.7)
    plain = row_of(FRAME, replace(FULL, measures=None))
    assert (plain["map"], plain["reason"], plain["full_inside"]) == ("full", "box", None)


def test_both_forms_have_a_row_for_each_map_and_csv_has_names_of_columns() -> None:
    table, lines = (MapRows(form, lambda: (FULL, CARRIED)) for form in ("csv", "jsonl"))
    text = (table.begin(FRAME, NOTHING) + table.rows(FRAME, NOTHING) + table.end()).decode()
    names, first, second = text.splitlines()
    assert names == ",".join(COLUMNS)
    assert first.startswith('"hall, old.mp4",12,1.2,5,kite,0.8124,1.0,2.0,11.0,12.13,full,box,12,0,,,,')
    assert second.endswith(",carried,,9,3,0.7,0.7,0.15,0.85,0.8,0.1,0.9,0.9,0.2,0.7")
    assert lines.begin(FRAME, NOTHING) == b""
    rows = [json.loads(line) for line in lines.rows(FRAME, NOTHING).splitlines()]
    assert rows == [row_of(FRAME, FULL), row_of(FRAME, CARRIED)]
    assert MapRows("jsonl", tuple).rows(FRAME, NOTHING) == b""


def test_the_summary_counts_maps_and_averages_frames_with_a_carried_map() -> None:
    summary = MapSummary.empty()
    assert summary.means() == {}
    for maps in ((FULL, CARRIED), (), (replace(CARRIED, measures=None),), (CARRIED,)):
        summary.add(maps)
    assert (summary.maps, summary.carried, summary.reasons) == (4, 3, {"box": 1})
    assert (summary.count, summary.worse) == (2, 2)
    means = summary.means()
    assert means["carried"] == pytest.approx({"inside": 0.7, "deletion": 0.15, "insertion": 0.85})
    assert means["bell"]["insertion"] == pytest.approx(0.7)
