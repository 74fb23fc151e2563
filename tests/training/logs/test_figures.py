"""Names and values as users of trackers expect them."""

import math

from aerostat.training.logs.figures import MAX_CLASSES, figures_of, parameters_of
from aerostat.training.recipe import Recipe


def test_only_finite_defined_figures_are_shown():
    record = {
        "kind": "val",
        "epoch": 1,
        "ap": 0.5,
        "ap_small": -1,
        "ap50": math.nan,
        "note": "x",
        "good": True,
    }
    assert figures_of(record) == {"val/ap": 0.5}


def test_records_of_other_kinds_have_none():
    assert figures_of({"kind": "warning", "epoch": 1, "text": "slow"}) == {}
    assert figures_of({}) == {}


def test_classes_are_shown_unless_there_are_very_many():
    few = {f"class {i}": 0.5 for i in range(MAX_CLASSES)}
    assert len(figures_of({"kind": "val", "per_class": few})) == MAX_CLASSES
    assert figures_of({"kind": "val", "per_class": {**few, "one more": 0.5}}) == {}


def test_names_of_classes_cannot_leave_their_folder():
    names = figures_of({"kind": "val", "per_class": {"../../x": 0.5, "..": 0.25, "气球": 0.75}})
    assert set(names) == {"val_class_ap/_.._x", "val_class_ap/_", "val_class_ap/气球"}


def test_every_field_of_the_recipe_is_a_parameter():
    recipe = Recipe()
    assert len(parameters_of(recipe)) == sum(map(len, recipe.to_dict().values()))
