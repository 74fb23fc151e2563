"""The recipe that follows from the size of a data set, against the shares worked by hand."""

import math
from pathlib import Path

import pytest

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.training.presets import SMALL_IMAGES, Extent, PresetBasis, choose, fitting_input
from aerostat.training.recipe import Recipe


def recipe_for(images: int, preset: str = "auto", **more: object) -> Recipe:
    asked = {"size": "nano", "weights": "w.pth", "input_size": 320, **more}
    return choose(preset, PresetBasis(train_images=images, **asked)).recipe


def iterations_of(recipe: Recipe, images: int) -> int:
    return recipe.schedule.epochs * -(-images // recipe.optim.batch_size)  # the last batch is filled up


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [
        (1, 2, 100),
        (5, 2, 100),
        (15, 4, 100),
        (61, 8, 100),
        (100, 8, 100),
        (101, 8, 80),
        (200, 8, 80),
        (201, 8, 50),
        (500, 8, 50),
        (501, 16, 30),
        (2000, 16, 30),
        (2001, 16, 20),
        (5000, 16, 20),
    ],
)
def test_small_data_get_a_small_batch_and_many_epochs(images, batch, epochs):
    recipe = recipe_for(images)
    assert (recipe.optim.batch_size, recipe.schedule.epochs) == (batch, epochs)
    assert recipe.optim.batch_size <= max(images, 2)


@pytest.mark.parametrize("images", [1, 5, 61, 1000, 5000])
@pytest.mark.parametrize("epochs", [None, 1, 2, 10, 300])
def test_warm_up_stage_2_and_averaging_are_shares_of_the_run(images, epochs):
    recipe = recipe_for(images, epochs=epochs)
    iterations = iterations_of(recipe, images)
    schedule = recipe.schedule
    assert schedule.epochs == (epochs or schedule.epochs)
    assert schedule.warmup_iterations == min(1000, max(1, round(iterations / 10)))
    assert 1 / schedule.ema_momentum == pytest.approx(min(5000, max(1, iterations / 10)), rel=0.06)
    assert schedule.ema_gamma <= max(iterations, 5) / 10
    assert abs((schedule.epochs - schedule.stage2_epoch) - schedule.epochs / 4) <= 0.5


def test_fewer_epochs_move_everything_with_them():
    long, short = recipe_for(61, epochs=40).schedule, recipe_for(61, epochs=10).schedule
    assert (long.warmup_iterations, short.warmup_iterations) == (32, 8)  # of 320 and 80 iterations
    assert (1 / long.ema_momentum, 1 / short.ema_momentum) == pytest.approx((32, 8), rel=0.05)
    assert (long.stage2_epoch, short.stage2_epoch) == (30, 7)


def test_a_larger_batch_has_fewer_iterations_and_a_higher_rate():
    recipe = recipe_for(61, batch_size=48)
    assert recipe.optim.lr == pytest.approx(0.001 * 2)  # four times the batch of 12, its square root
    assert recipe.schedule.warmup_iterations == 20  # of 100 epochs of 2


def test_accumulating_counts_as_the_larger_batch_it_makes():
    plain, accumulated = recipe_for(960, batch_size=48), recipe_for(960, batch_size=12, accumulate=4)
    assert accumulated.optim.lr == plain.optim.lr
    assert accumulated.schedule.ema_momentum == plain.schedule.ema_momentum
    assert accumulated.schedule.warmup_iterations == 4 * plain.schedule.warmup_iterations


def test_fresh_weights_learn_faster_than_pretrained_ones():
    assert recipe_for(61, weights="").optim.lr > recipe_for(61).optim.lr


def test_auto_takes_the_published_recipe_above_5000_images():
    assert recipe_for(5000) == recipe_for(5000, "small")
    large = recipe_for(5001)
    assert large == recipe_for(5001, "published")
    assert large.schedule.epochs == 300
    assert large.schedule.stage2_epoch == 280
    assert large.schedule.warmup_iterations == 1000
    assert large.schedule.ema_momentum == 0.0002
    assert large.optim.lr == pytest.approx(0.004 * large.optim.batch_size / 256)


def test_the_published_rate_follows_the_batch_linearly():
    assert recipe_for(100_000, "published", batch_size=256).optim.lr == pytest.approx(0.004)
    assert recipe_for(100_000, "published", batch_size=64, accumulate=4).optim.lr == pytest.approx(0.004)


@pytest.mark.parametrize("images", [1, 61, 1000, 5001, 100_000])
@pytest.mark.parametrize("epochs", [1, 10, 300])
def test_even_the_published_recipe_fits_a_short_run(images, epochs):
    recipe = recipe_for(images, "published", epochs=epochs)
    iterations = iterations_of(recipe, images)
    schedule = recipe.schedule
    assert schedule.warmup_iterations <= iterations / 10
    assert schedule.stage2_epoch >= epochs * 0.9 - 0.5
    at_end = schedule.ema_momentum + (1 - schedule.ema_momentum) * math.exp(-iterations / schedule.ema_gamma)
    assert 1 / at_end <= max(iterations / 4, 2)


def test_larger_sizes_augment_as_they_were_published():
    tiny, s, m = (recipe_for(61, size=size).augment for size in ("tiny", "s", "m"))
    assert (tiny.mixup, tiny.mosaic_cache, tiny.mixup_cache, tiny.resize_ratio) == (0.5, 20, 10, (0.5, 2.0))
    assert (s.mixup, s.mosaic_cache, s.mixup_cache, s.resize_ratio) == (1.0, 40, 20, (0.5, 2.0))
    assert (m.mixup, m.mosaic_cache, m.mixup_cache, m.resize_ratio) == (1.0, 40, 20, (0.1, 2.0))


@pytest.mark.parametrize("images", [1, 61, 10_000])
def test_the_reasons_name_the_numbers_that_the_recipe_has(images):
    choice = choose("auto", PresetBasis(size="tiny", train_images=images, weights="", input_size=640))
    text = "\n".join(choice.reasons)
    recipe = choice.recipe
    assert f"{images} training image{'s' * (images != 1)}" in text
    assert f"batch {recipe.optim.batch_size}" in text
    assert f"{recipe.schedule.epochs} epochs" in text
    assert f"{recipe.schedule.warmup_iterations} of" in text
    assert all("\n" not in reason for reason in choice.reasons)


def test_the_reasons_do_not_promise_a_stage_2_that_never_comes():
    choice = choose("small", PresetBasis(size="tiny", train_images=61, weights="", input_size=640, epochs=1))
    assert choice.recipe.schedule.stage2_epoch == 1
    assert any(reason.startswith("no stage 2") for reason in choice.reasons)


def test_the_request_is_in_the_recipe():
    recipe = recipe_for(61, size="s", weights="my.pth", input_size=416)
    assert (recipe.model.size, recipe.model.weights, recipe.data.input_size) == ("s", "my.pth", 416)


def test_an_unknown_preset_or_size_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'smal'.*auto, small, published.*'small'"):
        recipe_for(61, "smal")
    with pytest.raises(InputError, match=r"'tinny'.*'tiny'"):
        recipe_for(61, size="tinny")


# ------------------------------------------------------------------------------------------ the input size


def split_of(*images: tuple[int, int, list[tuple[float, float, float, float]]]) -> Split:
    records = [
        ImageRecord(Path(f"{i}.jpg"), f"{i}.jpg", width, height, tuple(Instance(box, 0) for box in boxes))
        for i, (width, height, boxes) in enumerate(images)
    ]
    return Split("train", ("disc",), (1,), tuple(records))


def test_the_extent_is_a_quartile_of_sides_over_the_longest_side_of_their_image():
    split = split_of(
        (1000, 500, [(0, 0, 40, 160), (10, 10, 210, 210)]),  # sides 80 and 200 of 1000
        (400, 800, [(0, 0, 80, 80), (0, 0, 160, 640), (0, 0, 0, 50)]),  # 80 and 320 of 800, one without area
        (600, 300, []),
    )
    extent = Extent.of(split)
    assert extent is not None
    # 0.08, 0.1, 0.2, 0.4: a quarter of the way through four values lies 0.75 of the step from the first
    assert extent.small_share == pytest.approx(0.08 + 0.75 * 0.02)
    assert extent.longest_side == 800


def test_data_without_boxes_have_no_extent_and_keep_the_input():
    assert Extent.of(split_of((640, 480, []))) is None
    assert Extent.of(split_of()) is None
    assert recipe_for(61, extent=None).data.input_size == 320


@pytest.mark.parametrize(
    ("share", "longest", "start", "size"),
    [
        (0.088, 1024, 320, 800),  # the balloon photographs: 795 px would make it 70
        (0.5, 1024, 320, 320),  # objects that fill half of the image
        (0.5, 1024, 640, 640),  # never below what the weights were trained with
        (0.02, 4000, 320, 1280),  # never above the largest
        (0.02, 1024, 320, 960),  # nor above what the images have to show
        (0.02, 200, 320, 320),  # small images
        (0.02, 200, 96, 96),
        (0.0729, 2000, 640, 960),
        (0.088, 1024, 416, 800),
        (0.088, 1024, 832, 832),
    ],
)
def test_the_input_shows_small_objects_large_enough(share, longest, start, size):
    found, reason = fitting_input(Extent(share, longest), start)
    assert found == size
    assert f"input {size} px" in reason
    assert ("in place of" in reason) == (size != start)
    assert recipe_for(61, extent=Extent(share, longest), input_size=start).data.input_size == size


def test_the_published_preset_keeps_the_published_input():
    extent = Extent(0.02, 4000)
    assert recipe_for(61, "published", extent=extent).data.input_size == 320
    assert recipe_for(SMALL_IMAGES + 1, extent=extent).data.input_size == 320
