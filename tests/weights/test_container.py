"""The one writer of safetensors files, against the library's reader."""

import errno
import json
from contextlib import contextmanager

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from aerostat.weights.container import write_safetensors

resource = pytest.importorskip("resource", reason="the system has no limits for processes")

TENSORS = {
    "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),  # an odd number of them
    "scalar": torch.tensor(3.5),
    "none": torch.empty(0, 3),
    "half": torch.tensor([[1.5, -2], [3, 65504]], dtype=torch.float16),
    "brain": torch.tensor([1.5, 3e38], dtype=torch.bfloat16),
    "double": torch.tensor([1e300, -0.0], dtype=torch.float64),
    "bool": torch.tensor([True, False]),
    "long": torch.tensor([-(2**63), 2**63 - 1]),
    "short": torch.tensor([-5, 5], dtype=torch.int16),
    "wide": torch.tensor([2**32 - 1], dtype=torch.uint32),
    "not contiguous": torch.arange(12.0).reshape(3, 4).t(),
    'naïve\n"name"': torch.tensor([float("nan"), float("inf")]),
}


def test_the_librarys_reader_finds_every_type_shape_and_bit(tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, TENSORS, {"key": "größe", "other": "{}"})
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8)), (
            name
        )
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"key": "größe", "other": "{}"}
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_every_tensor_begins_where_numbers_of_its_size_may(tmp_path):
    write_safetensors(tmp_path / "w.safetensors", TENSORS, {"key": "x"})
    content = (tmp_path / "w.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    assert end % 8 == 0
    for name, tensor in TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.element_size() == 0, name


def test_nothing_at_all_is_a_file_too(tmp_path):
    write_safetensors(tmp_path / "w.safetensors", {}, {})
    assert load_file(tmp_path / "w.safetensors") == {}


@contextmanager
def files_of_at_most(size: int):
    """Let the system refuse to write more than so many bytes to a file, as a full disk does part-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_refuses_half_way_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a": torch.ones(3)}, {})
    with files_of_at_most(100_000), pytest.raises(OSError) as caught:
        write_safetensors(path, {"a": torch.zeros(1_000_000)}, {})
    assert caught.value.errno == errno.EFBIG
    assert torch.equal(load_file(path)["a"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
