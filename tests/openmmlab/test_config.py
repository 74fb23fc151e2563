"""Configs of OpenMMLab: what is evaluated, how bases are merged, and what is refused with its line."""

import sys
from pathlib import Path

import pytest

from aerostat.errors import InputError
from aerostat.openmmlab import read_config

TINY = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"


@pytest.fixture
def config(tmp_path: Path):
    """Write files and read the last one."""

    def read(text: str, **bases: str):
        for name, content in bases.items():
            (tmp_path / f"{name}.py").write_text(content, "utf-8")
        (tmp_path / "config.py").write_text(text, "utf-8")
        return read_config(tmp_path / "config.py")

    return read


# --- expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 12 * 0.004 / (32 * 8)", 12 * 0.004 / 256),
        ("n = 300\nx = n // 2 - 1", 149),
        ("x = -2 ** 3 % 5", 2),
        ("s = (640, 640)\nx = (s[0] * 2, s[-1] * 2)", (1280, 1280)),
        ("r = 'data/'\nx = r + 'a.json'", "data/a.json"),
        ("n = 3\nx = f'{n}x{n + 1:02d}'", "3x04"),
        ("x = '%s/%d' % ('a', 3)", "a/3"),
        ("x = '{}/{name}'.format('a', name='b')", "a/b"),
        ("x = [1, 2] + [3] * 2", [1, 2, 3, 3]),
        ("a = [1]\nx = [*a, 2][:1]", [1]),
        ("x = dict(a=1, **dict(b=2))", {"a": 1, "b": 2}),
        ("x = dict(dict(a=1))", {"a": 1}),
        ("x = {'a': 1, **{'b': 2}}", {"a": 1, "b": 2}),
        ("x = len(('cat',))", 1),
        ("x = list(range(3))", [0, 1, 2]),
        ("x = int('3') + float('.5') + max(1, 2)", 5.5),
        ("x = [dict(type='Resize', scale=s) for s in (1, 2) if s > 1]", [{"type": "Resize", "scale": 2}]),
        ("x = {k: v for k, v in [('a', 1)]}", {"a": 1}),
        ("x = 1 if 2 > 1 and not False else 0", 1),
        ("x = None or 'a'", "a"),
        ("a, b = 1, 2\nx = b", 2),
        ("x: int = 3", 3),
        ("x = 1\nx += 2", 3),
        ("d = dict(a=[1])\nd['a'][0] = 5\nx = d", {"a": [5]}),
        ("x = dict(a=1)\nx.update(b=2)", {"a": 1, "b": 2}),
        ("x = [1]\nx.append(2)\nx.insert(0, 0)", [0, 1, 2]),
        ("x = []\nfor i in range(3):\n    x.append(i)", [0, 1, 2]),
        ("if True:\n    x = 1\nelse:\n    x = 2", 1),
        ("from copy import deepcopy\na = [1]\nx = deepcopy(a)\na.append(2)", [1]),
        ("x = dict(a=1, b=2)\ndel x['a']", {"b": 2}),
        ("'''a docstring'''\npass\nx = 'a, b'.split(', ')", ["a", "b"]),
        ("from mmdet.models import RTMDet\nx = dict(type=RTMDet)", {"type": "RTMDet"}),
        ("import torch\nx = torch.nn.SyncBatchNorm", "SyncBatchNorm"),
        ("x = '{{ fileBasenameNoExtension }}/a'", "config/a"),
        ("x = '{{$NOWHERE:fallback}}/a'", "fallback/a"),
        ("x = '气球'", "气球"),
    ],
)
def test_a_value_is_evaluated(config, text, expected) -> None:
    assert config(text).get("x") == expected


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a = 1\nimport os", 2, "import of 'os'"),
        ("from my_package.hooks import MyHook", 1, "import of 'my_package.hooks'"),
        ("x = open('a')", 1, r"the call .open\('a'\). is not executed"),
        ("x = __import__('os').system('true')", 1, "is not executed"),
        ("import torch\nx = torch.load('a')", 2, "is not executed"),
        ("x = ().__class__.__bases__", 1, "is not evaluated"),
        ("x = '{0.__class__}'.format(1)", 1, "of a format is not evaluated"),
        ("x = 'a'.encode()", 1, "is not executed"),
        ("x = [open(p) for p in 'ab']", 1, "is not executed"),
        ("def f():\n    pass", 1, "functiondef"),
        ("class A:\n    pass", 1, "classdef"),
        ("while True:\n    pass", 1, "while"),
        ("\n\nif unknown:\n    x = 1", 3, "'unknown' is not known here"),
        ("x = y", 1, "'y' is not known here"),
        ("x = lambda: 1", 1, "is not evaluated"),
        ("x = b'a'", 1, "is not evaluated"),
        ("x = 1 / 0", 1, "ZeroDivisionError"),
        ("x = [1][3]", 1, "IndexError"),
        ("x = dict(a=1)['b']", 1, "KeyError"),
        ("x = 'a' + 1", 1, "TypeError"),
        ("x = 9 ** 9 ** 9", 1, "too large"),
        ("x = [0] * 10 ** 9", 1, "too long"),
        ("x = 'a' * 10 ** 9", 1, "too long"),
        ("x = range(10 ** 9)", 1, "too long"),
        ("x = '%1000000000d' % 1", 1, "wider"),
        ("x = f'{1:>1000000000}'", 1, "wider"),
        ("x = '{:>1000000000}'.format(1)", 1, "wider"),
        ("x = '{{$NOWHERE}}'", 1, "environment is not read"),
        ("x = '{{_base_.a}}'", 1, "is not known here"),
        ("for i in range(9999):\n    for j in range(9999):\n        x = i", 3, "computes too much"),
        ("a = [1]\na.append(a)\nx = str(a)", 3, "too large|nested"),
        ("x = 0\nx = (", 2, "no Python"),
        ("x = " + "(" * 200 + ")" * 200, 1, "nested too deeply"),
        ("x = " + "-" * 5000 + "1", 1, "too much|too long or too deep"),
        ("x = " + "1+" * 5000 + "1", 1, "too much|too long or too deep"),
        ("_base_ = 5", 1, "the name of a file"),
        ("_base_ = './nothing.py'", 1, "neither a .py file on disk nor a published RTMDet config"),
        ("from .nothing import *", 1, "neither a .py file on disk nor a published"),
    ],
)
def test_what_is_not_evaluated_is_refused_with_its_line(config, tmp_path, text, line, why) -> None:
    with pytest.raises(InputError, match=why) as raised:
        config(text)
    sentence = str(raised.value)
    assert "config.py" in sentence and "\n" not in sentence and len(sentence) < 600
    assert f"line {line}" in sentence or "too long or too deep" in sentence


def test_values_that_share_their_parts_cost_no_more_than_they_are_long(config) -> None:
    doubling = "a0 = [1]\n" + "".join(f"a{i} = [a{i - 1}, a{i - 1}]\n" for i in range(1, 50))
    with pytest.raises(InputError, match="too large or nested"):
        config(doubling + "x = a49")
    with pytest.raises(InputError, match="too large or nested"):
        config(doubling + "x = a49 == a48")
    with pytest.raises(InputError, match="too large or nested"):
        config(doubling + "x = str(a49)")


def test_nothing_of_a_config_is_run(config, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("open('made', 'w')", "__import__('os').mkdir('made')", "import touch", "x = eval('1')"):
        with pytest.raises(InputError):
            config(text)
    assert {path.name for path in tmp_path.iterdir()} == {"config.py"}
    assert "touch" not in sys.modules


# --- files


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00x", "UTF-8"),
        ("x = '气球'".encode("gbk"), "line 1.*UTF-8"),
        (b"\x00\x01", "binary"),
        (b"\x89PNG\r\n\x1a\n", "UTF-8"),
        (b"x = [\n" + b"1,\n" * 700_000 + b"]", "larger than 384 KiB"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, content, why) -> None:
    (tmp_path / "config.py").write_bytes(content)
    with pytest.raises(InputError, match=why):
        read_config(tmp_path / "config.py")


def test_a_missing_file_and_a_folder_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="found nothing at"):
        read_config(tmp_path / "none.py")
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)


def test_an_empty_file_and_one_with_a_mark_are_read(tmp_path) -> None:
    (tmp_path / "a.py").write_bytes(b"")
    (tmp_path / "b.py").write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    assert read_config(tmp_path / "a.py").values == {}
    assert read_config(tmp_path / "b.py").values == {"x": 1}


# --- bases


def test_dictionaries_are_merged_and_lists_replaced(config) -> None:
    found = config(
        "_base_ = 'base.py'\nmodel = dict(head=dict(b=3))\nhooks = [2]\nextra = dict(a=1)",
        base="model = dict(type='A', head=dict(a=1, b=2))\nhooks = [1, 1]\nkept = 5",
    )
    assert found.values == {
        "model": {"type": "A", "head": {"a": 1, "b": 3}},
        "hooks": [2],
        "kept": 5,
        "extra": {"a": 1},
    }


def test_delete_replaces_a_dictionary(config) -> None:
    found = config("_base_ = ['base.py']\na = dict(_delete_=True, y=2)", base="a = dict(x=1)")
    assert found.values == {"a": {"y": 2}}


def test_values_of_the_base_are_read_in_all_three_ways(config) -> None:
    found = config(
        "_base_ = 'base.py'\nx = _base_.a.b[0]\ny = {{_base_.a.c}}\n"
        "z = '{{_base_.a.c}}/f'\nw = '{{_base_.a.b}}'",
        base="a = dict(b=[7], c='root')",
    )
    assert [found.get(key) for key in "xyzw"] == [7, "root", "root/f", [7]]


def test_an_assignment_into_the_base_counts(config) -> None:
    found = config(
        "_base_ = 'base.py'\nlast = 35\n_base_.custom_hooks[1].switch_epoch = last",
        base="custom_hooks = [dict(type='EMAHook'), dict(type='PipelineSwitchHook', switch_epoch=280)]",
    )
    assert found.get("custom_hooks", 1, "switch_epoch") == 35
    assert "custom_hooks" in found.own_keys
    assert [entry.name for entry in found.unused] == []


def test_a_name_of_the_base_alone_is_refused_with_the_way_to_write_it(config) -> None:
    with pytest.raises(InputError, match=r"line 2: 'lr' is not known here.*_base_\.lr"):
        config("_base_ = 'base.py'\nx = lr", base="lr = 1")


def test_bases_of_bases_and_several_bases_are_joined(config) -> None:
    found = config(
        "_base_ = ['a.py', 'b.py']\nz = 3", a="_base_ = 'c.py'\nx = 1", b="y = 2", c="x = 0\nw = 0"
    )
    assert found.values == {"w": 0, "x": 1, "y": 2, "z": 3}
    assert len(found.files) == 4


def test_two_bases_with_one_key_are_refused(config) -> None:
    with pytest.raises(InputError, match="two bases state 'x'"):
        config("_base_ = ['a.py', 'b.py']", a="x = 1", b="x = 2")


@pytest.mark.parametrize(
    "chain", [{"a": "_base_ = 'config.py'"}, {"a": "_base_ = 'b.py'", "b": "_base_ = 'a.py'"}]
)
def test_a_circle_of_bases_is_refused(config, chain) -> None:
    with pytest.raises(InputError, match="inherits from itself"):
        config("_base_ = 'a.py'", **chain)


def test_a_chain_without_an_end_is_refused(config) -> None:
    chain = {f"c{i}": f"_base_ = 'c{i + 1}.py'" for i in range(30)}
    with pytest.raises(InputError, match="too many bases"):
        config("_base_ = 'c0.py'", **chain)


def test_bases_that_branch_are_counted(config) -> None:
    chain = {f"c{i}": f"_base_ = ['c{i + 1}.py', 'c{i + 1}.py']" for i in range(10)}
    with pytest.raises(InputError, match=r"too many bases|two bases"):
        config("_base_ = 'c0.py'", **chain, c10="x = 1")


def test_a_base_above_the_folder_is_read(tmp_path) -> None:
    (tmp_path / "_base_").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "_base_" / "base.py").write_text("x = 1")
    (tmp_path / "mine" / "config.py").write_text("_base_ = '../_base_/base.py'")
    assert read_config(tmp_path / "mine" / "config.py").values == {"x": 1}


def test_the_error_in_a_base_names_the_base(config) -> None:
    with pytest.raises(InputError, match=r"base\.py, line 2"):
        config("_base_ = 'base.py'", base="a = 1\nb = print(a)")


# --- published bases


@pytest.mark.parametrize(
    "name",
    [
        TINY,
        "../rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        "configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        "mmyolo::rtmdet/rtmdet_tiny_syncbn_fast_8xb32-300e_coco.py",
        "rtmdet_tiny_syncbn_fast_8xb32-300e_coco.py",
    ],
)
def test_a_published_base_that_is_missing_on_disk_is_known(config, name) -> None:
    found = config(f"_base_ = '{name}'\nbase_lr = _base_.base_lr\ntrain_cfg = dict(max_epochs=40)")
    assert found.get("train_cfg") == {**found.get("train_cfg"), "max_epochs": 40, "val_interval": 10}
    assert (found.published, found.get("base_lr")) == ((name,), 0.004)
    assert found.own_keys >= {"train_cfg"} and "model" not in found.own_keys


def test_a_file_beside_the_config_comes_before_the_published_values(config, tmp_path) -> None:
    (tmp_path / "rtmdet_tiny_8xb32-300e_coco.py").write_text("x = 1")
    found = config("_base_ = 'rtmdet_tiny_8xb32-300e_coco.py'")
    assert (found.values, found.published) == ({"x": 1}, ())


# --- the pure Python style


def test_read_base_brings_in_variables_and_assignments_replace_them(config) -> None:
    found = config(
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *\n"
        "from mmdet.models import RTMDet\nmodel.update(dict(type=RTMDet, head=dict(n=1)))\n"
        "optim = dict(lr=2)",
        base="model = dict(type='A', head=dict(n=80, m=2))\noptim = dict(lr=1, decay=3)",
    )
    assert found.values == {"model": {"type": "RTMDet", "head": {"n": 1, "m": 2}}, "optim": {"lr": 2}}


def test_one_name_of_a_base_and_a_published_base_are_read(config) -> None:
    found = config("with read_base():\n    from .base import a\nb = a", base="a = 1\nc = 2")
    assert found.values == {"a": 1, "b": 1}
    found = config("if '_base_':\n    from .rtmdet_tiny_8xb32_300e_coco import *\nmodel.merge(dict(a=1))")
    assert found.get("model", "a") == 1 and found.get("model", "type") == "RTMDet"
    assert found.published == (".rtmdet_tiny_8xb32_300e_coco",)


def test_what_a_base_does_not_have_is_refused(config) -> None:
    with pytest.raises(InputError, match="line 2: the base has no 'b'"):
        config("with read_base():\n    from .base import b", base="a = 1")


# --- variables without effect


def unused(found) -> list[tuple[str, int, bool]]:
    return [(entry.name, entry.place.line, entry.replaced) for entry in found.unused]


def test_a_variable_that_no_key_of_the_runner_reads_is_named(config) -> None:
    found = config(
        f"_base_ = '{TINY}'\nnum_classes = 1\nmax_epochs = 40\nlr = 0.1\nrate = lr\n"
        "optim_wrapper = dict(optimizer=dict(lr=rate))"
    )
    assert unused(found) == [("num_classes", 2, False), ("max_epochs", 3, False)]


def test_a_pipeline_that_no_loader_has_is_named(config) -> None:
    found = config(f"_base_ = '{TINY}'\ntrain_pipeline = [dict(type='A')]")
    assert unused(found) == [("train_pipeline", 2, False)]
    found = config(
        f"_base_ = '{TINY}'\ntrain_pipeline = [dict(type='A')]\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))"
    )
    assert unused(found) == []


def test_an_assignment_that_a_later_one_replaces_is_named(config) -> None:
    found = config("p = [1]\ntrain_dataloader = dict(pipeline=p)\ntrain_dataloader = dict(batch_size=4)")
    assert unused(found) == [("p", 1, False), ("train_dataloader", 2, True)]


def test_a_variable_that_only_a_child_reads_is_used(config) -> None:
    found = config("_base_ = 'base.py'\nwork_dir = _base_.root", base="root = 'a'\nother = 1")
    assert [entry.name for entry in found.unused] == ["other"]


def test_what_a_change_in_place_reads_is_used(config) -> None:
    found = config("n = 3\nmodel = dict(head=dict())\nmodel['head']['num_classes'] = n")
    assert unused(found) == []
