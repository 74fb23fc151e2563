"""OpenVINO's own files say what the ONNX model said."""

import numpy as np
import pytest

from aerostat.demo import CHECKPOINT
from aerostat.deploy.openvino_file import write_openvino
from aerostat.deploy.quantise import quantise
from aerostat.errors import AerostatError, InputError
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import KEY, Exported
from aerostat.inference.backends.openvino import openvino_engine, read_openvino_entry
from aerostat.inference.resolve import load_network
from aerostat.model.onnx_graph import onnx_model
from aerostat.scenes.balloons import draw_scene

SIZE = (160, 128)
ENTRY = Exported("nano", ('bal"loon', "<a&b>", "Größe 气球 🎈", "a\nb"), SIZE)


@pytest.fixture(scope="module")
def scene():
    picture, _ = draw_scene(np.random.default_rng(3), 320, 256)[:2]
    return Letterbox.fit((320, 256), SIZE).apply(picture)


@pytest.fixture(scope="module")
def model():
    return onnx_model(load_network(CHECKPOINT)[0], input_size=SIZE, metadata={KEY: ENTRY.to_json()})


def outputs(source, image):
    (found,) = openvino_engine(source, ENTRY).candidates(image[None], score_threshold=0.01, pre_nms=1000)
    return found


def test_the_files_give_what_the_model_gives_to_the_bit(model, scene, tmp_path):
    write_openvino(model, tmp_path / "new" / "model.xml")
    ours, theirs = outputs(tmp_path / "new" / "model.xml", scene), outputs(model.SerializeToString(), scene)
    assert len(theirs.scores) > 10
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["model.bin", "model.xml"]


def test_the_files_say_what_the_model_said_about_itself(model, tmp_path):
    write_openvino(model, tmp_path / "model.xml")
    assert read_openvino_entry(tmp_path / "model.xml") == ENTRY


def test_int8_stays_int8(model, scene, tmp_path):
    small = quantise(model, [scene])
    write_openvino(small, tmp_path / "int8.xml")
    write_openvino(model, tmp_path / "float.xml")
    assert read_openvino_entry(tmp_path / "int8.xml").precision == "int8"
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.bin", "float.bin")]
    assert sizes[0] < 0.5 * sizes[1]
    np.testing.assert_array_equal(
        outputs(tmp_path / "int8.xml", scene).scores, outputs(small.SerializeToString(), scene).scores
    )


def test_half_the_file_is_half_the_digits(model, scene, tmp_path):
    write_openvino(model, tmp_path / "half.xml", compress_to_fp16=True)
    write_openvino(model, tmp_path / "whole.xml")
    sizes = [(tmp_path / name).stat().st_size for name in ("half.bin", "whole.bin")]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.05)
    assert outputs(tmp_path / "half.xml", scene).scores[0] == pytest.approx(
        outputs(tmp_path / "whole.xml", scene).scores[0], abs=0.01
    )


def test_files_that_stand_there_are_replaced(model, scene, tmp_path):
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_text("old")
    write_openvino(model, tmp_path / "model.xml")
    assert len(outputs(tmp_path / "model.xml", scene).scores)


def test_a_model_that_openvino_does_not_know_leaves_nothing_behind(model, tmp_path):
    strange = type(model)()
    strange.CopyFrom(model)
    strange.graph.node[3].op_type = "Frobnicate"
    with pytest.raises(AerostatError, match="cannot read the exported model") as caught:
        write_openvino(strange, tmp_path / "model.xml")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_somebody_else_is_refused(model, tmp_path):
    import openvino

    bare = type(model)()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    openvino.save_model(openvino.Core().read_model(bare.SerializeToString()), str(tmp_path / "model.xml"))
    with pytest.raises(InputError, match="written by `aerostat export`"):
        read_openvino_entry(tmp_path / "model.xml")


def test_files_without_their_bin_are_refused(model, tmp_path):
    write_openvino(model, tmp_path / "model.xml")
    (tmp_path / "model.bin").unlink()
    with pytest.raises(InputError, match="no whole OpenVINO model"):
        read_openvino_entry(tmp_path / "model.xml")
