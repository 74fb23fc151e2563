"""Errors as parts of other sentences, and suggestions for a misspelt name."""

import pytest

from aerostat.errors import AerostatError, InputError, clause, nearest


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("Expected an image, found nothing: a.png.", "expected an image, found nothing: a.png"),
        ("Expected.png is empty.", "Expected.png is empty"),
        ("/photos/A.png cannot be read.", "/photos/A.png cannot be read"),
    ],
)
def test_within_another_sentence_an_error_is_a_clause(sentence, part):
    assert clause(InputError(sentence)) == part


def test_a_wrong_request_and_failed_work_have_exit_codes_of_their_own():
    assert (InputError.exit_code, AerostatError.exit_code) == (2, 1)


@pytest.mark.parametrize(
    ("name", "expected"), [("rtmdet-tini", " Did you mean 'rtmdet-tiny'?"), ("xyz", ""), ("", "")]
)
def test_the_nearest_name_is_suggested(name, expected):
    assert nearest(name, ["rtmdet-nano", "rtmdet-tiny"]) == expected


def test_a_name_in_another_case_is_the_nearest() -> None:
    assert nearest("CAT", ["dog", "Cat"]) == " Did you mean 'Cat'?"
