from collections.abc import Callable
from pathlib import Path

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import cvat_tracks
from aerostat.errors import InputError


def meta(**fields: object) -> str:
    task = {"size": 0, "mode": "interpolation", "start_frame": 0, **fields}
    size = "<original_size><width>100</width><height>80</height></original_size>"
    labels = "<labels><label><name>dog</name></label><label><name>cat</name></label></labels>"
    parts = "".join(f"<{key}>{value}</{key}>" for key, value in task.items())
    return f"<meta><task>{parts}{labels}{size}</task></meta>"


def box(frame: object, *corners: float, outside: int = 0, key: int = 1, more: str = "") -> str:
    names = zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)
    numbers = " ".join(f'{name}="{value}"' for name, value in names)
    return f'<box frame="{frame}" outside="{outside}" keyframe="{key}" occluded="0" {numbers} {more}></box>'


def track(*shapes: str, label: str = "cat", more: str = "") -> str:
    return f'<track id="0" label="{label}" {more}>{"".join(shapes)}</track>'


@pytest.fixture
def read(images, tmp_path: Path) -> Callable[..., Dataset]:
    """Read tracks of a task whose frames are images."""

    def read(names: list[str], head: str, *tracks: str) -> Dataset:
        if names:
            images("data/images", *names)
        (tmp_path / "data").mkdir(exist_ok=True)
        text = f"<annotations><version>1.1</version>{head}{''.join(tracks)}</annotations>"
        (tmp_path / "data" / "annotations.xml").write_text(text)
        return Dataset.read(tmp_path / "data")

    return read


def frames(count: int, start: int = 0, step: int = 1) -> list[str]:
    return [f"frame_{number:06d}.png" for number in range(start, start + count * step, step)]


def found(data: Dataset) -> dict[str, list[tuple[float, ...]]]:
    return {i.path.stem: [o.box_xyxy for o in i.instances] for i in data.split("all").images}


def test_boxes_between_key_frames_lie_on_a_line(read) -> None:
    tracks = track(box(0, 0, 10, 10, 20), box(4, 40, 10, 50, 60), box(5, 40, 10, 50, 60, outside=1))
    data = read(frames(7), meta(size=7, stop_frame=6), tracks)
    assert found(data) == {
        "frame_000000": [(0, 10, 10, 20)],
        "frame_000001": [(10, 10, 20, 30)],
        "frame_000002": [(20, 10, 30, 40)],
        "frame_000003": [(30, 10, 40, 50)],
        "frame_000004": [(40, 10, 50, 60)],
        "frame_000005": [],
        "frame_000006": [],
    }
    assert data.classes == ("dog", "cat") and data.problems == ()


def test_an_object_moves_towards_the_frame_on_which_it_is_gone(read) -> None:
    shapes = box(0, 0, 0, 10, 10), box(2, 20, 0, 30, 10, outside=1), box(4, 50, 0, 60, 10)
    data = read(frames(6), meta(size=6, stop_frame=5), track(*shapes))
    boxes = {int(name[-1]): of_frame for name, of_frame in found(data).items()}
    last = [(50, 0, 60, 10)]
    assert boxes == {0: [(0, 0, 10, 10)], 1: [(10, 0, 20, 10)], 2: [], 3: [], 4: last, 5: last}


def test_an_object_without_end_goes_on_to_the_last_frame(read) -> None:
    data = read(frames(5), meta(size=4, stop_frame=3), track(box(1, 0, 0, 9, 9)))
    boxes = [len(of_frame) for of_frame in found(data).values()]
    assert boxes == [0, 1, 1, 1]  # the fifth image is no frame of the task


def test_a_single_shape_on_the_last_frame_but_one_ends_there(read) -> None:
    alone = track(box(2, 0, 0, 9, 9))
    assert [len(b) for b in found(read(frames(4), meta(size=4, stop_frame=3), alone)).values()] == [
        0,
        0,
        1,
        0,
    ]


def test_stated_frames_count_as_they_stand(read) -> None:
    shapes = box(0, 0, 0, 8, 8), box(1, 50, 50, 60, 60, key=0), box(2, 4, 0, 12, 8, outside=1)
    data = read(frames(3), meta(size=3, stop_frame=2), track(*shapes))
    assert found(data)["frame_000001"] == [(50, 50, 60, 60)]


def test_turned_boxes_turn_the_short_way(read) -> None:
    turned = [box(f, 40, 30, 60, 40, more=f'rotation="{r}"') for f, r in ((0, 315), (2, 45))]
    data = read(frames(3), meta(size=3, stop_frame=2), track(*turned))
    assert found(data)["frame_000001"] == [(40, 30, 60, 40)]  # at 0 degrees


def test_masks_stand_on_their_frames_alone(read) -> None:
    mask = (
        '<mask frame="{}" outside="{}" keyframe="1" rle="0,6" left="5" top="6" width="3" height="2"></mask>'
    )
    data = read(frames(4), meta(size=4, stop_frame=3), track(mask.format(0, 0), mask.format(3, 1)))
    assert [len(boxes) for boxes in found(data).values()] == [1, 0, 0, 0]
    instance = data.split("all").images[0].instances[0]
    assert (instance.box_xyxy, instance.area) == ((5, 6, 8, 8), 6) and instance.rle is not None


def test_a_mask_of_unknown_image_size_is_kept_by_its_box(read) -> None:
    mask = (
        '<mask frame="0" outside="0" keyframe="1" rle="1,2,3" left="5" top="6" width="3" height="2"></mask>'
    )
    data = read(frames(1), "", track(mask))
    instance = data.split("all").images[0].instances[0]
    assert (instance.box_xyxy, instance.rle) == ((6, 6, 8, 7), None)


@pytest.mark.parametrize(
    ("names", "head"),
    [
        (frames(3, 10, 3), {"start_frame": 10, "stop_frame": 16, "frame_filter": "step=3"}),
        (frames(3), {"start_frame": 10, "stop_frame": 16, "frame_filter": "step=3"}),
        (["c.png", "d.png", "e.png"], {"start_frame": 10, "stop_frame": 16, "frame_filter": "step=3"}),
        (
            ["IMG_13.png", "IMG_16.png", "IMG_99.png"],
            {"mode": "annotation", "start_frame": 10, "frame_filter": "step=3"},
        ),
        (
            ["10.png", "13.png", "16.png", "19.png"],
            {"start_frame": 10, "stop_frame": 16, "frame_filter": "step=3"},
        ),
    ],
    ids=["number in the video", "number in the task", "order", "task of images", "more images"],
)
def test_frames_are_found_by_number_or_order(read, names: list[str], head: dict[str, object]) -> None:
    shapes = [box(10, 0, 0, 9, 9), box(13, 0, 0, 9, 8), box(16, 0, 0, 9, 7, outside=1)]
    data = read(names, meta(size=3, **head), track(*shapes))
    expected = [[(0, 0, 9, 9)], [(0, 0, 9, 8)], []]
    assert list(found(data).values()) == expected
    assert list(found(data)) == [Path(name).stem for name in names[:3]]


def test_images_between_the_frames_of_a_task_are_left_out(read) -> None:
    head = meta(size=3, frame_filter="step=2")
    data = read(frames(9), head, track(box(0, 0, 0, 9, 9), box(4, 0, 0, 9, 9)))
    assert list(found(data)) == ["frame_000000", "frame_000002", "frame_000004"]


def test_frames_without_image_are_reported(read) -> None:
    data = read(frames(1), meta(size=3, stop_frame=2), track(box(0, 0, 0, 9, 9), box(2, 0, 0, 9, 9)))
    assert list(found(data)) == ["frame_000000"]
    assert [(p.kind, p.file_name) for p in data.problems] == [("missing image", "frame_000002.png")]


def test_a_video_without_its_images_is_refused(read) -> None:
    with pytest.raises(InputError, match=r"None of the images .+ first 'frame_000000\.png': not found"):
        read([], meta(size=3, stop_frame=2), track(box(0, 0, 0, 9, 9)))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (box("first", 0, 0, 9, 9), "frame is 'first', which is no number"),
        (box(-1, 0, 0, 9, 9), "no whole number from 0"),
        (box(1.5, 0, 0, 9, 9), "no whole number from 0"),
        (box(0, 0, 0, 5, 5), "states this frame twice"),
        ('<box frame="1" outside="0" xtl="1"/>', "ytl is missing"),
        ('<points frame="1" outside="0" points="1,2"/>', "no extent"),
    ],
)
def test_a_broken_shape_costs_itself_alone(read, broken: str, said: str) -> None:
    data = read(frames(2), meta(size=2, stop_frame=1), track(box(0, 0, 0, 9, 9), broken))
    assert found(data)["frame_000000"] == [(0, 0, 9, 9)]
    (problem,) = data.problems
    assert (
        problem.kind == "malformed record" and said in problem.detail and "track 0, frame" in problem.detail
    )


def test_a_broken_shape_of_an_object_that_is_gone_is_no_problem(read) -> None:
    gone = '<box frame="1" outside="1" keyframe="1"/>'
    data = read(frames(3), meta(size=3, stop_frame=2), track(box(0, 0, 0, 9, 9), gone))
    assert [len(boxes) for boxes in found(data).values()] == [1, 0, 0] and data.problems == ()


def test_skeletons_and_attributes_are_counted(read) -> None:
    skeleton = '<skeleton frame="0"><points frame="0" points="1,2"/></skeleton>'
    marked = box(0, 0, 0, 9, 9).replace("></box>", '><attribute name="a">b</attribute></box>')
    data = read(
        frames(1),
        meta(size=1, stop_frame=0),
        track(skeleton),
        track(marked.replace('occluded="0"', 'occluded="1"')),
    )
    assert {p.detail for p in data.problems} == {"1 skeletons", "1 attributes", "1 marks as occluded"}


def test_tracks_of_several_videos_are_refused(read) -> None:
    tasks = [track(box(0, 0, 0, 9, 9), more=f'task_id="{number}"') for number in (1, 2)]
    with pytest.raises(InputError, match="tracks of 2 tasks, whose frames have the same numbers"):
        read(frames(1), meta(size=1), *tasks)


def test_tracks_without_end_over_many_frames_are_refused(read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvat_tracks, "MAX_INTERPOLATED", 20)
    endless = [track(box(0, 0, 0, 9, 9)) for _ in range(4)]
    with pytest.raises(InputError, match="tracks that go on over more than 20 frames"):
        read(frames(10), meta(size=10, stop_frame=9), *endless)
    assert sum(map(len, found(read(frames(10), meta(size=10, stop_frame=9), *endless[:2])).values())) == 20


def test_a_frame_far_away_costs_nothing(read) -> None:
    far = track(box(0, 0, 0, 9, 9), box(2_000_000_000, 0, 0, 9, 9))
    data = read(frames(3), meta(size=3), far)
    assert [len(boxes) for boxes in found(data).values()] == [1, 1, 1]


def test_the_video_of_a_maker_of_tools(shared: Path) -> None:
    data = Dataset.read(shared / "data" / "small" / "datumaro_assets" / "cvat_dataset" / "for_video")
    names = {name: len(boxes) for name, boxes in found(data).items()}
    assert names == {"frame_000010": 1, "frame_000013": 1, "frame_000016": 0}
    assert data.classes == ("klhg", "z U k", "II")
