"""Help, version and words that are no command."""

import shutil
from importlib import metadata

import pytest

from aerostat.cli import app

VERBS = [name for name in app if not name.startswith("-")]


def test_without_words_the_help_is_shown(aerostat):
    ended = aerostat()
    assert ended.code == 0
    assert ended.out == aerostat("--help").out
    assert "Fine-tune RTMDet" in ended.out


def test_the_version_is_printed(aerostat):
    assert aerostat("--version") == (0, f"{metadata.version('aerostat')}\n", "")


def test_every_verb_of_the_contract_is_there():
    assert {"demo", "convert", "train", "eval", "predict", "export", "report", "models", "doctor"} <= set(
        VERBS
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_lists_every_option_with_a_text_in_80_columns(aerostat, verb):
    shown = aerostat(verb, "--help").out
    assert f"Usage: aerostat {verb}" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "--verbose (-v)" in shown and "--quiet (-q)" in " ".join(shown.split())
    arguments = [a for a in app[verb].assemble_argument_collection(parse_docstring=True) if a.show]
    for argument in arguments:
        assert argument.parameter.help, f"{verb} {argument.name} has no text"
        assert all(name in shown for name in argument.names)
        assert " ".join(argument.parameter.help.split())[:20] in " ".join(shown.replace("│", " ").split())
    assert aerostat(verb, "--help").out == aerostat(verb, "-h").out


def test_no_option_can_be_said_in_an_undocumented_way():
    names = {
        n
        for verb in VERBS
        for a in app[verb].assemble_argument_collection(parse_docstring=True)
        for n in a.names
    }
    assert {n for n in names if n.startswith(("--no-", "--empty-"))} == {
        "--no-card",
        "--no-pictures",
        "--no-flip",
        "--no-masks",
        "--no-pixels",
        "--no-video",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], ["trian", "Did you mean", "train", "aerostat --help"]),
        (["--nope"], ["--nope", "aerostat --help"]),
        (["train", "d", "--modle", "x"], ["--modle", "--model", "aerostat train --help"]),
        (["train", "d", "e"], ["Unexpected argument 'e'", "aerostat train --help"]),
        (["convert", "only"], ["DST is missing", "aerostat convert --help"]),
        (["eval"], ["WEIGHTS is missing"]),
        (["train", "d", "--epochs", "ten"], ["--epochs", "ten"]),
        (["train", "d", "--epochs"], ["--epochs requires an argument"]),
        (["train", "d", "--precision", "fp16"], ["fp16", "16-mixed"]),
        (["train", "d", "--device", "gpu"], ["gpu", "cuda"]),
        (["train"], ["data set folder", "aerostat train DATA"]),
        (["train", "--classes", "disc", "d"], ["DATA goes before it"]),
        (["predict", "w"], ["at least one image, folder or pattern"]),
        (["predict", "w", "x.jpg", "--format", "xml"], ["xml", "csv"]),
        (["export", "w", "--to", "tflite"], ["tflite", "openmmlab"]),
    ],
)
def test_a_wrong_command_line_is_one_sentence(aerostat, words, expected, assert_refused):
    assert_refused(aerostat(*words), *expected)


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "{}", "out"],
        ["inspect", "{}"],
        ["lint", "{}"],
        ["train", "{}"],
        ["train", "--resume", "{}"],
        ["study", "{}"],
        ["report", "{}"],
        ["eval", "{}", "data"],
        ["predict", "{}", "photograph.jpg"],
        ["predict", "weights.safetensors", "{}"],
        ["features", "{}", "photograph.jpg"],
        ["features", "weights.safetensors", "{}"],
        ["explain", "{}", "photograph.jpg"],
        ["explain", "weights.safetensors", "{}"],
        ["export", "{}"],
        ["benchmark", "{}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_not_there_is_refused_by_every_verb(
    aerostat, assert_refused, working_folder, weights, photograph, words, what
):
    (working_folder / "folder").mkdir()
    shutil.copy(weights, "weights.safetensors")
    photograph(working_folder / "photograph.jpg")
    before = sorted(working_folder.iterdir())
    assert_refused(aerostat(*[word.format(what) for word in words]), what)
    assert sorted(working_folder.iterdir()) == before
