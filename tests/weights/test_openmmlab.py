"""OpenMMLab files: read without executing anything, in both formats and both name layouts."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.weights import inert_pickle
from aerostat.weights.coco_classes import COCO_CLASSES
from aerostat.weights.openmmlab import (
    Identity,
    class_names,
    drop_preprocessor,
    identify,
    to_mmdet_names,
    write_pth,
)
from aerostat.weights.pth import read_pth

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PERSON = SHARED / "weights" / "rtmdet_nano_person.pth"
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def save(content: object, path: Path, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def names_and_shapes(file: str) -> dict[str, torch.Tensor]:
    """A state dict of a parity file, its tensors taking no memory."""
    path = SHARED / "parity" / file
    if not path.exists():
        pytest.skip(f"{path} is not here")
    data = np.load(path)
    shapes = [json.loads(shape) for shape in data["state_shapes"]]
    return {
        str(name): torch.empty(shape, device="meta")
        for name, shape in zip(data["state_names"], shapes, strict=True)
    }


class HistoryBuffer:
    """Stands for a training-log object of a package that is not installed here."""

    def __init__(self) -> None:
        self.history = np.arange(5.0)


class Touch:
    """Unpickled by Python, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


# ------------------------------------------------------------------------------------ tensors


@FORMATS
def test_the_real_file_reads_as_torch_reads_it_tensor_by_tensor(tmp_path: Path, zipped: bool) -> None:
    if not PERSON.exists():
        pytest.skip(f"{PERSON} is not here")
    theirs = torch.load(PERSON, weights_only=True)
    ours = read_pth(save(theirs, tmp_path / "copy.pth", zipped=False) if not zipped else PERSON)
    assert list(ours.state) == list(theirs["state_dict"])
    for name, tensor in theirs["state_dict"].items():
        assert ours.state[name].dtype == tensor.dtype
        assert torch.equal(ours.state[name], tensor)
    assert ours.meta["classes"] == ("person",)


@FORMATS
@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ],
)
def test_every_dtype_of_a_checkpoint_keeps_its_values(
    tmp_path: Path, dtype: torch.dtype, zipped: bool
) -> None:
    tensor = torch.tensor([[0, 1, 2], [3, 100, 7]]).to(dtype)
    read = read_pth(save({"state_dict": {"a": tensor}}, tmp_path / "x.pth", zipped)).state["a"]
    assert read.dtype == dtype
    assert torch.equal(read, tensor)


@FORMATS
def test_views_shared_storages_parameters_scalars_and_empty_tensors_are_read(
    tmp_path: Path, zipped: bool
) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": whole.T,
        "slice": whole[1:3, ::2],
        "same": whole,
        "parameter": torch.nn.Parameter(whole[0]),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
    }
    read = read_pth(save({"state_dict": state}, tmp_path / "x.pth", zipped)).state
    for name, tensor in state.items():
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name], tensor.detach())


def test_a_bare_state_dict_without_a_top_level_is_read(tmp_path: Path) -> None:
    path = save(OrderedDict(a=torch.ones(2)), tmp_path / "bare.pth")
    assert torch.equal(read_pth(path).state["a"], torch.ones(2))


def test_a_big_endian_file_gives_the_same_numbers(tmp_path: Path) -> None:
    path = save(
        {"state_dict": {"a": torch.tensor([1.5, -2.0]), "n": torch.tensor(258)}}, tmp_path / "little.pth"
    )
    swapped = tmp_path / "big.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(swapped, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if "/data/" in name:
                width = 4 if len(content) == 8 and struct.unpack("<f", content[:4])[0] == 1.5 else 8
                content = b"".join(content[i : i + width][::-1] for i in range(0, len(content), width))
            target.writestr(name, b"big" if name.endswith("byteorder") else content)
    read = read_pth(swapped).state
    assert read["a"].tolist() == [1.5, -2.0]
    assert read["n"].item() == 258


def test_a_sequence_of_training_logs_and_numpy_values_is_skipped(tmp_path: Path) -> None:
    content = {
        "meta": {
            "dataset_meta": {"CLASSES": ("cat", "dog"), "PALETTE": [(1, 2, 3)]},
            "epoch": 300,
            "loss": np.float64(0.25),
            "rng": np.arange(3),
        },
        "state_dict": OrderedDict(a=torch.ones(2), _extra=HistoryBuffer()),
        "message_hub": {"log": HistoryBuffer(), "set": {1, 2}, "frozen": frozenset({3})},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
    }
    for zipped in (True, False):
        read = read_pth(save(content, tmp_path / "x.pth", zipped))
        assert list(read.state) == ["a"]
        assert read.skipped == ("_extra",)
        assert read.meta["classes"] == ("cat", "dog")
        assert read.meta["epoch"] == 300


# ------------------------------------------------------------------------------------ hostile files


@FORMATS
def test_a_payload_in_the_meta_leaves_no_trace_and_the_tensors_load(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    content = {"meta": {"x": Touch(trace)}, "state_dict": {"a": torch.ones(2), "b": Touch(trace)}}
    path = save(content, tmp_path / "evil.pth", zipped)
    assert torch.equal(read_pth(path).state["a"], torch.ones(2))
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload is alive: Python's machine does create the file
    assert trace.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch TRACE'\ntR.",
        b"(cos\nsystem\nS'touch TRACE'\no.",
        b"(S'touch TRACE'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch TRACE\x85R.",
        b"\x80\x02cthis_module_has_never_been_imported\nname\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
        b"cbuiltins\n__import__\n(S'antigravity'\ntR.",
    ],
    ids=["reduce", "obj", "inst", "stack_global", "newobj_build", "import"],
)
def test_no_instruction_calls_or_imports_anything(tmp_path: Path, program: bytes, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    inert_pickle.read(io.BytesIO(program))
    assert not (tmp_path / "TRACE").exists()
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, "x", None, True, False, b"bytes", (1,), (1, 2, 3, 4), -(2**80)]},
        {"nested": [{"deep": ((), [], {})}], 7: "int key", 1.5: "float key"},
        ["memo"] * 3,
    ],
)
@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_out_as_python_reads_them(value: object, protocol: int) -> None:
    read, persistent = inert_pickle.read(io.BytesIO(pickle.dumps(value, protocol)))
    assert (protocol < 3) or read == value  # before 3, bytes are written as a call, which stays one
    assert persistent == []


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80",
        b"nothing",
        b".",
        b"R.",
        b"0.",
        b"t.",
        b"h\x05.",
        b"(K\x01d.",
        b"I" + b"9" * 10000 + b"\n.",
        b"\x8c\xff.",
        b"(((((o.",
        pickle.dumps({"a": [1, 2]})[:-2],
    ],
)
def test_damaged_pickles_are_refused_as_such(program: bytes) -> None:
    with pytest.raises(ValueError, match="damaged pickle"):
        inert_pickle.read(io.BytesIO(program))


@pytest.mark.slow
def test_memo_bombs_and_deep_nests_cost_neither_memory_nor_the_stack() -> None:
    assert inert_pickle.read(io.BytesIO(b"K\x01r\xff\xff\xff\xff."))[0] == 1
    deep = 300_000
    inert_pickle.read(io.BytesIO(b"]" * deep + b"a" * (deep - 1) + b"."))
    inert_pickle.read(io.BytesIO(b")" + b"\x85" * deep + b"."))
    keyed = b"})" + b"\x85" * deep + b"K\x01s."  # a deep tuple as a key, whose hash would recurse in C
    assert inert_pickle.read(io.BytesIO(keyed))[0] == {}


def rewritten(
    path: Path, target: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as out:
        for name in source.namelist():
            short = name.partition("/")[2]
            if change.get(short, b"x"):
                out.writestr(name, change.get(short) or source.read(name))
    return target


def with_shape(path: Path, target: Path, before: bytes, after: bytes) -> Path:
    with zipfile.ZipFile(path) as source:
        pickled = next(source.read(n) for n in source.namelist() if n.endswith("data.pkl"))
    assert pickled.count(before) == 1
    return rewritten(path, target, {"data.pkl": pickled.replace(before, after)})


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (b"K\x01K\x37K\x03\x86K\x03K\x01\x86", "size beyond the storage"),
        (b"K\x01K\x07K\x03\x86K\x63K\x01\x86", "stride beyond the storage"),
        (b"K\x19K\x07K\x03\x86K\x03K\x01\x86", "offset beyond the storage"),
        (b"J\xff\xff\xff\xffK\x07K\x03\x86K\x03K\x01\x86", "negative offset"),
        (b"K\x01K\x07K\x03\x86J\xff\xff\xff\xffK\x01\x86", "negative stride"),
        (b"K\x01M\xff\xffM\xff\xff\x86K\x00K\x00\x86", "stride 0: gigabytes out of one number"),
        (b"K\x01K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86K\x00K\x00\x86", "empty but enormous"),
        (b"K\x01K\x07K\x03\x86K\x03\x85", "one stride for two sizes"),
        (b"K\x01NK\x03K\x01\x86", "no size at all"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path: Path, after: bytes, what: str) -> None:
    whole = torch.arange(25.0)[1:22].reshape(7, 3)
    path = save({"state_dict": {"a": whole}}, tmp_path / "good.pth")
    with zipfile.ZipFile(path) as source:
        pickled = next(source.read(n) for n in source.namelist() if n.endswith("data.pkl"))
    before = pickled[pickled.index(b"QK\x01") + 1 : pickled.index(b"K\x03K\x01\x86") + 5]
    evil = with_shape(path, tmp_path / "evil.pth", before, after)
    assert read_pth(path).state["a"].shape == (7, 3)
    with pytest.raises(InputError, match=r": a tensor of (an impossible )?shape"):
        read_pth(evil)


def test_missing_short_compressed_and_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = save({"state_dict": {"a": torch.zeros(1000)}}, tmp_path / "good.pth")
    for change, compression in [
        ({"data/0": b""}, zipfile.ZIP_STORED),
        ({"data/0": b"short"}, zipfile.ZIP_STORED),
        ({"data.pkl": b""}, zipfile.ZIP_STORED),
        ({}, zipfile.ZIP_DEFLATED),
    ]:
        with pytest.raises(InputError, match=r"bad.pth cannot be read as a torch checkpoint"):
            read_pth(rewritten(path, tmp_path / "bad.pth", change, compression))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 20 : central + 28] = struct.pack("<II", 2**31, 2**31)  # claims two gigabytes
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match="larger than the file"):
        read_pth(tmp_path / "bad.pth")


@FORMATS
def test_a_file_cut_anywhere_is_refused_in_one_sentence(tmp_path: Path, zipped: bool) -> None:
    path = save(
        {"meta": {}, "state_dict": {"a": torch.zeros(50), "b": torch.ones(3)}}, tmp_path / "x.pth", zipped
    )
    content = path.read_bytes()
    for length in [*range(0, len(content), max(1, len(content) // 40)), len(content) - 1]:
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(InputError) as raised:
            read_pth(tmp_path / "cut.pth")
        assert "cut.pth" in str(raised.value) and "\n" not in str(raised.value)


def test_files_of_other_kinds_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.pth").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(InputError, match="no weights file"):
        read_pth(tmp_path / "picture.pth")
    with pytest.raises(InputError, match=r"Cannot read .*absent"):
        read_pth(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_pth(save({"state_dict": {}}, tmp_path / "empty.pth"))
    with pytest.raises(InputError, match="holds no state dict"):
        read_pth(save([1, 2], tmp_path / "list.pth"))


# ------------------------------------------------------------------------------------ names

MMYOLO_PAIRS = {  # by hand, from the two projects' modules
    "backbone.stem.0.conv.weight": "backbone.stem.0.conv.weight",
    "backbone.stage4.2.attention.fc.bias": "backbone.stage4.2.attention.fc.bias",
    "neck.reduce_layers.2.conv.weight": "neck.reduce_layers.0.conv.weight",
    "neck.reduce_layers.2.bn.running_var": "neck.reduce_layers.0.bn.running_var",
    "neck.top_down_layers.0.0.main_conv.conv.weight": "neck.top_down_blocks.0.main_conv.conv.weight",
    "neck.top_down_layers.0.0.blocks.0.conv1.bn.bias": "neck.top_down_blocks.0.blocks.0.conv1.bn.bias",
    "neck.top_down_layers.0.1.conv.weight": "neck.reduce_layers.1.conv.weight",
    "neck.top_down_layers.1.short_conv.bn.weight": "neck.top_down_blocks.1.short_conv.bn.weight",
    "neck.top_down_layers.1.blocks.1.conv2.pointwise_conv.conv.weight": (
        "neck.top_down_blocks.1.blocks.1.conv2.pointwise_conv.conv.weight"
    ),
    "neck.downsample_layers.1.conv.weight": "neck.downsamples.1.conv.weight",
    "neck.bottom_up_layers.0.final_conv.conv.weight": "neck.bottom_up_blocks.0.final_conv.conv.weight",
    "neck.out_layers.2.conv.weight": "neck.out_convs.2.conv.weight",
    "bbox_head.head_module.cls_convs.0.1.bn.running_mean": "bbox_head.cls_convs.0.1.bn.running_mean",
    "bbox_head.head_module.rtm_reg.2.bias": "bbox_head.rtm_reg.2.bias",
}


@pytest.mark.parametrize("prefix", ["", "module.", "ema_model.module."])
def test_mmyolos_names_become_mmdetections(prefix: str) -> None:
    state = {prefix + name: torch.tensor(i) for i, name in enumerate(MMYOLO_PAIRS)}
    state = state if not prefix else {**state, "steps": torch.tensor(5)}
    assert to_mmdet_names(state) == {name: torch.tensor(i) for i, name in enumerate(MMYOLO_PAIRS.values())}


def mmyolo_name(name: str) -> str:
    """The other way round, as MMYOLO's own converter words it."""
    for ours, theirs in [
        ("neck.reduce_layers.0", "neck.reduce_layers.2"),
        ("neck.reduce_layers.1", "neck.top_down_layers.0.1"),
        ("neck.top_down_blocks.0", "neck.top_down_layers.0.0"),
        ("neck.top_down_blocks.1", "neck.top_down_layers.1"),
        ("downsamples", "downsample_layers"),
        ("bottom_up_blocks", "bottom_up_layers"),
        ("out_convs", "out_layers"),
        ("bbox_head", "bbox_head.head_module"),
    ]:
        if ours in name and not name.startswith("backbone"):
            return name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("file", ["tiny_det_80.npz", "s_det_3.npz"])
def test_a_whole_network_survives_the_way_to_mmyolos_names_and_back(file: str) -> None:
    state = names_and_shapes(file)
    theirs = {mmyolo_name(name): tensor for name, tensor in state.items()}
    assert len(theirs) == len(state) and set(theirs) != set(state)
    assert {n: t.shape for n, t in to_mmdet_names(theirs).items()} == {n: t.shape for n, t in state.items()}


def test_mmdetections_names_stay_as_they_are() -> None:
    state = names_and_shapes("tiny_det_1.npz")
    assert list(to_mmdet_names(state)) == list(state)
    assert to_mmdet_names({}) == {}


def test_the_preprocessor_goes_and_another_mean_is_told() -> None:
    usual = {
        "data_preprocessor.mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1),
        "data_preprocessor.std": torch.tensor([57.375, 57.12, 58.395]).view(3, 1, 1),
        "backbone.x": torch.ones(1),
    }
    assert drop_preprocessor(usual) == ({"backbone.x": torch.ones(1)}, ())
    rgb = {**usual, "data_preprocessor.mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)}
    _, (note,) = drop_preprocessor(rgb)
    assert "mean 123.675, 116.28, 103.53" in note


# ------------------------------------------------------------------------------------ identity


@pytest.mark.parametrize(
    ("file", "size", "classes"),
    [
        ("nano_det_1.npz", "nano", 1),
        ("nano_det_10.npz", "nano", 10),
        ("tiny_det_1.npz", "tiny", 1),
        ("tiny_det_80.npz", "tiny", 80),
        ("s_det_3.npz", "s", 3),
    ],
)
def test_size_and_class_count_follow_from_the_references_shapes(file: str, size: str, classes: int) -> None:
    identity = identify(names_and_shapes(file), file)
    assert (identity.kind, identity.size, identity.num_classes) == ("detector", size, classes)


def test_large_sizes_are_told_apart_by_their_stem_and_depth() -> None:
    for size, stem, blocks in [("m", 48, 4), ("l", 64, 6), ("x", 80, 8)]:  # 64 x width, round(6 x depth)
        state = {
            "backbone.stem.2.conv.weight": torch.empty(stem, stem // 2, 3, 3),
            "backbone.stage1.0.conv.weight": torch.empty(1),
            **{f"backbone.stage2.1.blocks.{i}.conv1.conv.weight": torch.empty(1) for i in range(blocks)},
        }
        assert (identify(state, "x").size, identify(state, "x").kind) == (size, "backbone")
        del state["backbone.stage2.1.blocks.0.conv1.conv.weight"]
        with pytest.raises(InputError, match="of unknown size"):
            identify(state, "x")


def test_a_network_with_masks_is_known_by_its_names() -> None:
    assert identify(names_and_shapes("tiny_ins_1.npz"), "ins.pth") == Identity("detector", "tiny", 1, True)


def test_other_networks_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"yolo.pth does not hold RTMDet weights.*'conv1.weight'"):
        identify({"conv1.weight": torch.empty(1)}, "yolo.pth")
    with pytest.raises(InputError, match="found 'nothing'"):
        identify({}, "empty.pth")


def test_class_names_come_from_the_file_or_are_said_to_be_assumed() -> None:
    assert class_names({"classes": ("a", "b")}, 2) == (("a", "b"), ())
    names, (note,) = class_names({}, 3)
    assert names == ("class_0", "class_1", "class_2") and "names no classes" in note
    names, (note,) = class_names({}, 80)
    assert names == COCO_CLASSES and "COCO" in note
    assert class_names({"classes": ("a", "b")}, 1)[0] == ("class_0",)
    assert class_names({"classes": ("a", "a")}, 2)[0] == ("class_0", "class_1")
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[16], COCO_CLASSES[79]) == ("person", "dog", "toothbrush")


# ------------------------------------------------------------------------------------ writing


def test_a_written_file_loads_in_torch_with_plain_types_only(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    state = {"a.weight": shared, "b.weight": shared, "view": torch.arange(100000.0)[5:8]}
    write_pth(tmp_path / "out.pth", state, ["balloon", "kite"], meta={"epoch": 40})
    theirs = torch.load(tmp_path / "out.pth", weights_only=True)
    assert theirs["meta"] == {"epoch": 40, "dataset_meta": {"classes": ("balloon", "kite")}}
    assert isinstance(theirs["state_dict"], OrderedDict)
    ours = read_pth(tmp_path / "out.pth")
    assert ours.meta == {"epoch": 40, "classes": ("balloon", "kite")}
    for name, tensor in state.items():
        assert torch.equal(theirs["state_dict"][name], tensor)
        assert torch.equal(ours.state[name], tensor)
    assert (tmp_path / "out.pth").stat().st_size < 20_000  # the view does not drag its whole storage along
