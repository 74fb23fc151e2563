"""Parameters in the library's messages become options of the verb that runs."""

import pytest

from aerostat.cli import as_typed


@pytest.mark.parametrize(
    ("words", "message", "expected"),
    [
        (["convert", "a", "b"], "name the folder with `images`.", "name the folder with --images."),
        (["train", "d"], "choose another `out`, or remove it", "choose another --out, or remove it"),
        (["convert", "a", "b"], "replace it with `force`.", "replace it with --force."),
        (["train"], "correct `data` (`set` and `preset`)", "correct DATA (--set and --recipe)"),
        (["predict", "w"], "Expected `nms_iou` in (0, 1].", "Expected --nms-iou in (0, 1]."),
        (
            ["train", "d"],
            "a longer run may gain more, `epochs=60`.",
            "a longer run may gain more, --epochs 60.",
        ),
        (["eval", "w", "d"], "add `tta=True` or `flip=False`", "add --tta or --no-flip"),
        (["explain", "w", "i"], "its place (`box_xyxy=(1, 2, 30, 40)`)", "its place (--box 1,2,30,40)"),
        (["train", "d"], "start with `weights='runs/my run'`.", "start with --weights 'runs/my run'."),
        (["predict", "w"], "use `export(dynamic=True)`.", "use aerostat export --dynamic."),
        (["predict", "w"], "`evaluate(weights, data)`", "aerostat eval WEIGHTS DATA"),
        (
            ["features", "w"],
            "(`describe_layers(net)` lists all)",
            "(aerostat features WEIGHTS --layers list lists all)",
        ),
        (["-v", "convert", "a", "b"], "with `force`.", "with --force."),
        (["convert", "a", "b", "-q"], "with `force`.", "with --force."),
    ],
)
def test_a_parameter_of_the_verb_becomes_its_option(words, message, expected):
    assert as_typed(message, words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "w"], "choose `epochs`"),  # predict has no such option
        (["train", "d"], "`unknown` and `os.system(1)` and `a b`"),
        (["train", "d"], "no backquotes: epochs, images"),
        (["train", "d"], "`` ` ``` `epochs"),
        ([], "see `images`"),
        (["--help"], "see `images`"),
        (["nonsense"], "see `images`"),
        (["train", "d"], f"`epochs={'-' * 10**6}1` and `epochs={'(' * 300}1`"),
        (["train", "d"], "`epochs=`, `epochs=f()`, `=3`, `train(`, `epochs=1; 2`, `weights=\\`"),
    ],
)
def test_what_is_no_parameter_of_the_verb_stays(words, message):
    assert as_typed(message, words) == message


@pytest.mark.parametrize(
    "name",
    ["`images`.jpg", "a`images`b", "x `images` y.jpg", "`train(data)`", "`epochs=1`", "a'b `images` c'"],
)
def test_names_of_files_that_were_typed_stay(name):
    message = f"There is no file {name}; name its folder with `images`."
    assert as_typed(message, ["train", name]) == f"There is no file {name}; name its folder with --images."


@pytest.mark.parametrize("name", ["'x `images` y.jpg'", r"'it\'s `images`'", "a`images`b.jpg"])
def test_quoted_values_and_parts_of_words_stay(name):
    assert as_typed(f"The record of {name} in `data` is broken.", ["train"]) == (
        f"The record of {name} in DATA is broken."
    )


def test_apostrophes_quote_nothing():
    assert as_typed("the run's `images` and the weights' `classes`", ["train"]) == (
        "the run's --images and the weights' --classes"
    )
