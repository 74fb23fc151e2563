"""Secrets do not get into messages."""

import pytest

from aerostat.training.logs.redaction import redacted

KEY = {"WANDB_API_KEY": "abcdef0123", "HOME": "/home/ann"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:p@ss/word@host:5000/a", "https://host:5000/a"),
        ("postgresql://ann:pw@db/mlflow failed", "postgresql://db/mlflow failed"),
        ("GET https://host/x?token=1#part 401", "GET https://host/x 401"),
        ("key abcdef0123 is refused", "key *** is refused"),
        ("no file /home/ann/x", "no file /home/ann/x"),
        ("", ""),
        ("a://" * 20_000, "a://" * 20_000),
        ("a" * 100_000, "a" * 100_000),
    ],
)
def test_a_message_keeps_all_but_its_secrets(text, shown):
    assert redacted(text, KEY) == shown
