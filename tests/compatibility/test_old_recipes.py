"""Recipes of version 0.1.0 resolve to themselves, and the options that made them make them still."""

import json
import tomllib
from pathlib import Path

import pytest

RECORDED = json.loads((Path(__file__).with_name("data") / "recipes.json").read_text("utf-8"))
PLAN = ("train", "scenes", "--classes", "drawn balloon", "--dry-run")


@pytest.mark.parametrize("name", RECORDED)
def test_the_same_options_give_the_same_recipe(aerostat, assert_as_recorded, name):
    ended = aerostat(*PLAN, *RECORDED[name]["options"])
    assert ended.code == 0, ended.err
    assert_as_recorded(tomllib.loads(RECORDED[name]["toml"]), tomllib.loads(ended.out))


@pytest.mark.parametrize("name", RECORDED)
def test_a_recipe_file_resolves_to_itself(aerostat, assert_as_recorded, tmp_path, name):
    path = tmp_path / "recipe.toml"
    path.write_text(RECORDED[name]["toml"])
    ended = aerostat(*PLAN, "--recipe", path)
    assert ended.code == 0, ended.err
    assert_as_recorded(tomllib.loads(RECORDED[name]["toml"]), tomllib.loads(ended.out))


def test_the_recipe_of_an_old_run_resolves_to_itself(aerostat, here, assert_as_recorded):
    path = here / "finished" / "recipe.toml"
    ended = aerostat(*PLAN, "--recipe", path, "--weights", "finished", "--set", "model.weights='finished'")
    assert ended.code == 0, ended.err
    before = tomllib.loads(path.read_text())
    before["model"]["weights"] = "finished"
    assert_as_recorded(before, tomllib.loads(ended.out))
