"""What a recipe file may say, how mistakes are told, and what stage 2 is a share of."""

import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.training.recipe import Recipe, ScheduleRecipe, parse_assignments, read_recipe, read_values


def stage2_epochs(epochs: int, share: float) -> int:
    schedule = ScheduleRecipe(epochs=epochs, stage2_share=share)
    return epochs - schedule.stage2_epoch


def test_defaults_are_the_published_numbers():
    recipe = Recipe()
    assert (recipe.optim.lr, recipe.optim.weight_decay, recipe.schedule.epochs) == (0.004, 0.05, 300)
    schedule = recipe.schedule
    assert (schedule.warmup_iterations, schedule.warmup_factor, schedule.final_lr_factor) == (
        1000,
        1e-5,
        0.05,
    )
    assert (schedule.cosine_start, schedule.ema_momentum) == (0.5, 0.0002)
    augment = recipe.augment
    assert (augment.mosaic_cache, augment.mixup_cache, augment.resize_ratio) == (20, 10, (0.5, 2.0))
    assert (augment.hue, augment.saturation, augment.value, augment.flip) == (5, 30, 30, 0.5)


@pytest.mark.parametrize(
    ("epochs", "share", "expected"),
    [
        (300, 20 / 300, 20),  # the published run
        (10, 20 / 300, 1),  # never "the last 20 epochs" of a run of 10
        (5, 20 / 300, 0),
        (1, 20 / 300, 0),
        (1, 0.25, 0),
        (2, 0.25, 1),
        (5, 0.25, 1),
        (10, 0.25, 3),
        (40, 0.25, 10),
        (300, 0.25, 75),
        (10, 0.0, 0),
        (10, 1.0, 10),
    ],
)
def test_stage_2_is_a_share_of_the_run(epochs, share, expected):
    assert stage2_epochs(epochs, share) == expected


@given(st.integers(1, 2000), st.floats(0, 1))
def test_stage_2_misses_its_share_by_at_most_half_an_epoch(epochs, share):
    assert abs(stage2_epochs(epochs, share) - epochs * share) <= 0.5


def test_a_recipe_written_and_read_is_the_same(tmp_path):
    recipe = Recipe().override(
        {
            "model": {"size": "nano", "weights": 'C:\\weights "best" größe.pth', "freeze": "backbone"},
            "augment": {"resize_ratio": [0.1, 2]},
            "optim": {"lr": 1.1e-4, "precision": "bf16-mixed"},
            "schedule": {"stage2_share": 1 / 3},
        }
    )
    recipe.write(tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == recipe
    assert tomllib.loads((tmp_path / "recipe.toml").read_text("utf-8")) == tomllib.loads(recipe.to_toml())


def test_every_field_is_in_the_file(tmp_path):
    Recipe().write(tmp_path / "recipe.toml")
    values = read_values(tmp_path / "recipe.toml")
    for section in dataclasses.fields(Recipe):
        fields = dataclasses.fields(getattr(Recipe(), section.name))
        assert set(values[section.name]) == {field.name for field in fields}


def test_a_file_fills_in_only_what_it_names(tmp_path):
    (tmp_path / "mine.toml").write_text("[optim]\nlr = 0.002\n")
    recipe = read_recipe(tmp_path / "mine.toml")
    assert recipe == Recipe().override({"optim": {"lr": 0.002}})
    assert recipe.schedule == ScheduleRecipe()


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    assert read_recipe(tmp_path / "empty.toml") == Recipe()


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "notepad.toml").write_bytes(b"\xef\xbb\xbf[optim]\r\nlr = 0.002\r\n")
    assert read_recipe(tmp_path / "notepad.toml").optim.lr == 0.002


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"schedul": {}}, ["'schedul'", "Did you mean 'schedule'?"]),
        ({"optim": {"batch_sise": 4}}, ["'optim.batch_sise'", "Did you mean 'batch_size'?"]),
        ({"schedule": {"lr": 0.1}}, ["'schedule.lr'", "Did you mean 'optim.lr'?"]),
        ({"lr": 0.1}, ["'lr'", "Did you mean 'optim.lr'?"]),
        ({"optim": {"zzzz": 4}}, ["'optim.zzzz'", "batch_size", "weight_decay"]),
        ({"optim": 0.1}, ["'optim'", "must be a table", "0.1"]),
        ({"model": "tiny"}, ["'model'", "must be a table", "'tiny'"]),
        ({"optim": {"lr": "fast"}}, ["'optim.lr'", "`float`", "'fast'"]),
        ({"schedule": {"epochs": 2.5}}, ["'schedule.epochs'", "`int`", "2.5"]),
        ({"schedule": {"epochs": True}}, ["'schedule.epochs'", "`int`", "True"]),
        ({"augment": {"resize_ratio": [0.5]}}, ["'augment.resize_ratio'", "length 2"]),
        ({"model": {"size": "huge"}}, ["'model.size'", "'huge'"]),
        ({"optim": {"precision": "fp8"}}, ["'optim.precision'", "'fp8'"]),
        ({"model": {"freeze": "neck"}}, ["'model.freeze'", "'neck'"]),
        ({"data": {"input_size": 100}}, ["data.input_size", "multiple of 32", "100"]),
        ({"data": {"input_size": 0}}, ["data.input_size", "multiple of 32"]),
        ({"data": {"threads": -2}}, ["data.threads", "-2"]),
        ({"augment": {"mosaic": 1.5}}, ["augment.mosaic", "between 0 and 1", "1.5"]),
        ({"augment": {"resize_ratio": [2.0, 0.5]}}, ["augment.resize_ratio", "rising"]),
        ({"augment": {"resize_ratio": [0.5, float("inf")]}}, ["augment.resize_ratio", "inf"]),
        ({"optim": {"lr": 0.0}}, ["optim.lr", "above 0", "0.0"]),
        ({"optim": {"lr": float("nan")}}, ["optim.lr", "nan"]),
        ({"optim": {"batch_size": 0}}, ["optim.batch_size", "at least 1"]),
        ({"optim": {"accumulate": 0}}, ["optim.accumulate", "at least 1"]),
        ({"optim": {"weight_decay": float("inf")}}, ["optim.weight_decay", "finite"]),
        ({"optim": {"clip_grad_norm": -1.0}}, ["optim.clip_grad_norm", "-1.0"]),
        ({"schedule": {"epochs": 0}}, ["schedule.epochs", "at least 1", "0"]),
        ({"schedule": {"stage2_share": 1.1}}, ["schedule.stage2_share", "between 0 and 1"]),
        ({"schedule": {"ema_gamma": 0.0}}, ["schedule.ema_gamma", "above 0"]),
        ({"eval": {"interval": 0}}, ["eval.interval", "at least 1"]),
        ({"eval": {"nms_iou": 1.0}}, ["eval.nms_iou", "below 1"]),
        ({"run": {"seed": -1}}, ["run.seed", "-1"]),
        ({"run": {"devices": 0}}, ["run.devices", "at least 1"]),
        ({"run": {"device": "tpu"}}, ["run.device", "auto, cpu, cuda, cuda:0, mps", "'tpu'"]),
        ({"run": {"device": "cuda:1", "devices": 2}}, ["run.devices", "1 with cuda:1", "2"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(values, parts):
    with pytest.raises(InputError) as caught:
        Recipe().override(values)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu:0", "cuda", "cuda:0", "cuda:11", "mps"])
def test_a_recipe_takes_the_devices_that_every_verb_takes(device):
    recipe = Recipe().override({"run": {"device": device}})
    assert Recipe().override(recipe.to_dict()) == recipe


def test_a_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[optim]\nbatch_sise = 4\n")
    with pytest.raises(InputError, match=r"mine\.toml.*batch_size"):
        read_values(path)


@pytest.mark.parametrize("content", [b"[optim\nlr = 1", b"\xff\xfe\x00", b"lr == 3"])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.toml is no readable TOML recipe"):
        read_values(path)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no recipe file .*none\.toml"):
        read_values(tmp_path / "none.toml")
    with pytest.raises(InputError, match="no readable TOML recipe"):
        read_values(tmp_path)


def test_assignments_are_read_as_toml_and_bare_words_as_text():
    values = parse_assignments(
        [
            "optim.lr=0.001",
            " schedule.epochs = 3",
            "augment.resize_ratio=[0.1, 2.0]",
            "model.weights=a=b/c.pth",
            'model.size="nano"',
            "optim.batch_size=2",
        ]
    )
    assert values == {
        "optim": {"lr": 0.001, "batch_size": 2},
        "schedule": {"epochs": 3},
        "augment": {"resize_ratio": [0.1, 2.0]},
        "model": {"weights": "a=b/c.pth", "size": "nano"},
    }
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["lr=1", "optim.lr", "", ".lr=1", "optim.=1"])
def test_an_assignment_of_another_form_is_shown_with_an_example(text):
    with pytest.raises(InputError, match=r"section\.key=value, for example optim\.lr=0\.001"):
        parse_assignments([text])


def test_overriding_leaves_the_original_as_it_was():
    before = Recipe()
    after = before.override({"optim": {"lr": 0.1}})
    assert (before.optim.lr, after.optim.lr) == (0.004, 0.1)
    assert before == Recipe()
