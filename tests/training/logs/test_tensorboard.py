"""What TensorBoard's own reader finds in a run's event files."""

import pytest

pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aerostat.training.logs import Delivery, TensorBoard


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def scalars(found, tag):
    return [(event.step, round(event.value, 5)) for event in found.Scalars(tag)]


def test_figures_pictures_and_recipe_are_in_the_runs_folder(run, deliver, examples):
    deliver(Delivery(TensorBoard()), examples)
    found = read(run.path / "tensorboard")
    assert scalars(found, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert scalars(found, "val/ap") == [(2, 0.25)]
    pictures = [found.Images(tag)[0] for tag in found.Tags()["images"]]
    assert len(pictures) == 2
    assert all(picture.encoded_image_string.startswith(b"\xff\xd8") for picture in pictures)
    plugins = found.summary_metadata
    assert any(data.plugin_data.plugin_name == "hparams" for data in plugins.values())
    assert b"weight_decay" in found.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


def test_a_resumed_run_replaces_what_followed_its_checkpoint(run, deliver):
    before = [{"kind": "train", "epoch": 1, "iteration": i, "loss": 1.0} for i in range(1, 5)]
    deliver(Delivery(TensorBoard()), records=before)
    run.metrics.write_text("".join(run.metrics.read_text().splitlines(keepends=True)[:2]))  # the checkpoint's
    deliver(Delivery(TensorBoard()), records=[{"kind": "train", "epoch": 1, "iteration": 3, "loss": 0.5}])
    assert scalars(read(run.path / "tensorboard"), "train/loss") == [(1, 1.0), (2, 1.0), (3, 0.5)]


def test_another_folder_can_be_named(run, deliver, tmp_path):
    deliver(Delivery(TensorBoard(tmp_path / "events")))
    assert list((tmp_path / "events").glob("events.out.*"))
    assert not (run.path / "tensorboard").exists()
