"""The state of a run: everything comes back with its type and to the last bit, and nothing is unpickled."""

import math
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.weights.checkpoint import Header, save_weights
from aerostat.weights.training_state import load_state, save_state


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, all the way down; NaN equals NaN."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return (
            [*a] == [*b]
            and all(same(x, y) for x, y in zip(a, b, strict=True))
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


def round_trip(path: Path, state: Any) -> Any:
    save_state(path, state)
    return load_state(path)


def test_every_kind_of_value_comes_back_with_its_type(tmp_path: Path) -> None:
    state = {
        "none": None,
        "flags": [True, False],
        "ints": (0, -1, 2**53, -(2**127), 2**200),
        "floats": [0.1, -0.0, 1e-320, math.inf, -math.inf, math.nan, 1.0],
        "texts": ("", "ü 气球", "\ud800", "$"),
        "bytes": (b"", bytes(range(256))),
        "by int": {0: {"step": torch.tensor(3.0)}, 1: {}},
        "marked": {"$": "tensor", "at": "t0"},
        "mixed keys": {1: "a", "1": "b", (2, "x"): "c", None: "d", 1.5: "e", True + 1: "f"},
        "tensors": [torch.arange(6, dtype=torch.int16).reshape(2, 3), torch.tensor(True), torch.empty(0, 2)],
        "half": torch.randn(3).bfloat16(),
        "arrays": [np.arange(624, dtype=np.uint32), np.empty((0, 3)), np.array(2.5), np.array(["a", "bc"])],
        "scalars": (np.float64(0.1), np.float32(0.1), np.int64(-5), np.bool_(True), np.uint64(2**64 - 1)),
        "empty": [{}, [], ()],
    }
    assert same(round_trip(tmp_path / "last.ckpt", state), state)


@pytest.mark.parametrize("value", [None, 1, 1.5, "x", [], {}, (), torch.ones(2)])
def test_a_lone_value_is_a_state_too(tmp_path: Path, value: Any) -> None:
    assert same(round_trip(tmp_path / "x.ckpt", value), value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
        ),
        max_leaves=12,
    )
)
def test_any_nest_comes_back(tmp_path: Path, state: Any) -> None:
    assert same(round_trip(tmp_path / "last.ckpt", state), state)


def test_random_states_go_on_exactly_where_they_were(tmp_path: Path) -> None:
    generators = {"pcg": np.random.default_rng(3), "mt": np.random.Generator(np.random.MT19937(3))}
    python = random.Random(3)
    torch_rng = torch.Generator().manual_seed(3)
    python.gauss(0, 1)
    saved = round_trip(
        tmp_path / "last.ckpt",
        {
            "numpy": {name: g.bit_generator.state for name, g in generators.items()},
            "python": python.getstate(),
            "torch": torch_rng.get_state(),
        },
    )
    expected = (
        [g.random(5).tolist() for g in generators.values()],
        python.gauss(0, 1),
        torch.rand(5, generator=torch_rng),
    )
    for name, generator in generators.items():
        generator.bit_generator.state = saved["numpy"][name]
    python.setstate(saved["python"])
    torch_rng.set_state(saved["torch"])
    assert [g.random(5).tolist() for g in generators.values()] == expected[0]
    assert python.gauss(0, 1) == expected[1]
    assert torch.equal(torch.rand(5, generator=torch_rng), expected[2])


def test_an_optimiser_goes_on_to_the_bit(tmp_path: Path) -> None:
    def step(weight: torch.nn.Parameter, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        (weight.sin() ** 2).sum().backward()
        optimiser.step()

    first = torch.nn.Parameter(torch.linspace(0, 1, 7))
    optimiser = torch.optim.AdamW([{"params": [first], "weight_decay": 0.05}], lr=0.01, betas=(0.8, 0.99))
    for _ in range(3):
        step(first, optimiser)
    saved = round_trip(tmp_path / "last.ckpt", {"weight": first, "optimiser": optimiser.state_dict()})
    second = torch.nn.Parameter(saved["weight"])
    resumed = torch.optim.AdamW([second])
    resumed.load_state_dict(saved["optimiser"])
    for _ in range(3):
        step(first, optimiser)
        step(second, resumed)
    assert torch.equal(first, second)


def test_tensors_that_share_memory_or_are_views_keep_their_values(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    saved = round_trip(tmp_path / "x.ckpt", {"a": base, "b": base, "t": base.T, "s": base[:, 1]})
    assert same(saved, {"a": base, "b": base, "t": base.T, "s": base[:, 1]})


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"a": [1, object()]}, r"the object at state\['a'\]\[1\]"),
        ({"a": {1, 2}}, r"the set at state\['a'\]"),
        ({"f": print}, r"builtin_function_or_method at state\['f'\]"),
        ([np.array([object()])], r"array of object at state\[0\]"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place_and_nothing_is_written(
    tmp_path: Path, state: Any, place: str
) -> None:
    with pytest.raises(TypeError, match=place):
        save_state(tmp_path / "last.ckpt", state)
    assert list(tmp_path.iterdir()) == []


def test_a_state_cut_anywhere_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "last.ckpt", {"a": torch.ones(100), "epoch": 3})
    content = (tmp_path / "last.ckpt").read_bytes()
    for length in [*range(0, len(content), 29), len(content) - 1]:
        (tmp_path / "cut.ckpt").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.ckpt is "):
            load_state(tmp_path / "cut.ckpt")


def test_weights_pickles_and_missing_files_are_no_states(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"a": torch.ones(1)}, Header("nano", ("a",)))
    with pytest.raises(InputError, match="is not the saved state of a training run"):
        load_state(tmp_path / "w.safetensors")
    torch.save({"a": 1}, tmp_path / "pickled.ckpt")
    assert zipfile.is_zipfile(tmp_path / "pickled.ckpt")
    with pytest.raises(InputError, match="is not the saved state of a training run"):
        load_state(tmp_path / "pickled.ckpt")
    with pytest.raises(InputError, match="There is no file"):
        load_state(tmp_path / "absent.ckpt")


@pytest.mark.parametrize(
    "tree",
    [
        '{"$": "tensor", "at": "t9"}',
        '{"$": "poem"}',
        '{"$": "array", "at": "t0", "dtype": "O", "shape": [1]}',
        '{"$": "int", "hex": "zz"}',
        '{"$": "dict", "items": 3}',
        '{"$": "array", "at": "t0", "dtype": "<f8", "shape": [9]}',
    ],
)
def test_a_tree_that_makes_no_sense_is_refused(tmp_path: Path, tree: str) -> None:
    from safetensors.torch import save_file

    document = f'{{"format": 1, "tree": {tree}}}'
    save_file({"t0": torch.ones(2)}, tmp_path / "x.ckpt", {"aerostat-state": document})
    with pytest.raises(InputError, match=r"x\.ckpt is damaged"):
        load_state(tmp_path / "x.ckpt")
