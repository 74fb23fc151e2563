"""Addresses of streams, and how they are shown without what is secret in them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from aerostat.errors import InputError
from aerostat.files import file_stem

SCHEMES = ("rtsp", "rtsps", "http", "https")
"""Schemes of streams that are opened."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20})://(.*)", re.DOTALL)


def is_address(text: str) -> bool:
    """Return whether a text is an address with a scheme, of whatever kind.

    >>> is_address("rtsp://door/1"), is_address("a.mp4"), is_address("C:/a.mp4")
    (True, False, False)
    """
    return _ADDRESS.fullmatch(text) is not None


def shown_address(address: str) -> str:
    """Return an address without user name, password, query and fragment.

    Some cameras take the password in the query. Everything before the last ``@`` is left out, also where
    the password itself has a slash or an ``@``, so at worst too much is left out.

    >>> shown_address("rtsp://me:p@ss/w@door:554/ch1?token=1#x")
    'rtsp://door:554/ch1'
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    rest = match[2].rpartition("@")[2]
    return f"{match[1].lower()}://{re.split('[?#]', rest, maxsplit=1)[0]}"


def stem_of_address(address: str) -> str:
    """Return a name for files that are written about a stream: its host and the last part of its path.

    >>> stem_of_address("rtsp://me:secret@door:554/live/ch1.sdp?x=1")
    'door-ch1'
    """
    parts = urlsplit(shown_address(address))
    last = parts.path.rstrip("/").rpartition("/")[2].partition(".")[0]
    host = parts.netloc.partition(":")[0]
    return file_stem("-".join(part for part in (host, last) if part)[:80])


def check_scheme(address: str) -> None:
    """Refuse an address that is no stream.

    Raises:
        InputError: its scheme is not among `SCHEMES`, or it names no host.
    """
    scheme = address.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise InputError(
            f"Expected an address that begins with {', '.join(f'{name}://' for name in SCHEMES)}, found "
            f"{shown_address(address)}."
        )
    if not shown_address(address).partition("://")[2].partition("/")[0]:
        raise InputError(f"Expected an address with a host, found {shown_address(address)}.")
