"""Options that several verbs share are the same everywhere."""

import pytest

from aerostat.cli import app

VERBS = [name for name in app if not name.startswith("-")]


def options(name):
    """Return the help text and the type of an option, by the verbs that have it."""
    return {
        verb: (argument.parameter.help, str(argument.hint))
        for verb in VERBS
        for argument in app[verb].assemble_argument_collection(parse_docstring=True)
        if name in argument.names
    }


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        ("--class-attribute", {"convert", "inspect", "lint", "train", "study", "eval"}),
        ("--strict", {"convert", "inspect", "lint", "train", "study", "eval"}),
        ("--scales", {"eval", "predict"}),
        ("--set", {"train", "study", "inspect"}),
        ("--json", {"convert", "inspect", "lint", "study", "eval", "predict", "explain", "export", "models"}),
    ],
)
def test_a_shared_option_has_one_text_and_one_type(name, verbs):
    found = options(name)
    assert set(found) >= verbs
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:3", "mps"])
@pytest.mark.parametrize("verb", ["train", "study", "eval", "predict", "features", "explain", "benchmark"])
def test_every_verb_takes_the_same_devices(verb, device):
    words = [verb, "a", *["b"] * (verb in ("eval", "predict", "features", "explain")), "--device", device]
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    given = [bound.arguments.get("device"), getattr(bound.arguments.get("fields"), "device", None)]
    assert device in given
    assert len({text for text, _ in options("--device").values()}) == 1


def test_several_class_names_are_taken_up_to_the_next_option_or_with_commas():
    def classes(*words):
        _, bound, _ = app.parse_args(["lint", "d", *words], exit_on_error=False, print_error=False)
        return bound.arguments["reading"].chosen().classes

    assert classes("--classes", "kite", "disc", "--json") == ("kite", "disc")
    assert classes("--classes", "kite, disc") == ("kite", "disc")
    assert classes("--strict") is None
