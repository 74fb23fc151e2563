"""Messages of other people's clients without passwords and keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_NAMES = re.compile(r"(KEY|TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS)", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.\-]{0,30}://)(?P<login>[^\s'\"<>]{0,1000}@)?(?P<rest>[^\s'\"<>?#]*)"
    r"(?P<query>[?#][^\s'\"<>]*)?",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Shorter values of the environment are no secrets, but occur in words."""


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a text without the secrets that it may hold.

    Addresses lose name, password, query and fragment. Values of variables whose name tells of a key, a token,
    a password or a secret become ``***``.

    Args:
        text: a message.
        environment: variables; None takes those of this process.

    >>> redacted("no answer from https://ann:pw@host/api?token=1 with abcdef", {"WANDB_API_KEY": "abcdef"})
    'no answer from https://host/api with ***'
    """
    known = os.environ if environment is None else environment
    secrets = {value for name, value in known.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _ADDRESS.sub(lambda match: match["scheme"] + match["rest"], text)
