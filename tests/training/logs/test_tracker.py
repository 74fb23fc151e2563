"""What a run remembers of its trackers, and what is said where a client is missing."""

import pytest

from aerostat.errors import InputError
from aerostat.training.logs.tracker import MEMORY, Beginning, Place, require_package
from aerostat.training.recipe import Recipe


@pytest.fixture
def beginning(run):
    return Beginning(run, Recipe(), Place(0, 1))


def test_names_are_remembered_for_each_tracker(beginning):
    beginning.remember("mlflow", {"run_id": "a"})
    beginning.remember("wandb", {"id": "b"})
    assert beginning.remembered("mlflow") == {"run_id": "a"}
    assert beginning.remembered("wandb") == {"id": "b"}
    assert beginning.remembered("tensorboard") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"mlflow": 3}', "[" * 100_000])
def test_a_broken_memory_is_an_empty_one(run, beginning, content):
    (run.path / MEMORY).write_text(content)
    assert beginning.remembered("mlflow") == {}
    beginning.remember("mlflow", {"run_id": "a"})
    assert beginning.remembered("mlflow") == {"run_id": "a"}


def test_a_client_that_is_missing_is_one_sentence_with_its_command():
    with pytest.raises(InputError, match=r"pip install 'aerostat\[mlflow\]'$"):
        require_package("no_such_package", "MLflow", "mlflow")
