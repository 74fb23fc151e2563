import pytest

from aerostat.text import counted, listed


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("class", "classes"), "1 class"),
        (80, ("class", "classes"), "80 classes"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(number, words, said):
    assert counted(number, *words) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        ([str(i) for i in range(1000)], "0, 1, 2 and 997 more"),
    ],
)
def test_of_many_names_the_first_are_said_and_the_others_counted(names, said):
    assert listed(iter(names), most=3) == said
