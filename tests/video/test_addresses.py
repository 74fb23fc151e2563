"""Addresses of streams are shown without what is secret."""

import pytest

from aerostat.errors import InputError
from aerostat.video.addresses import check_scheme, is_address, shown_address, stem_of_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://door/1", "rtsp://door/1"),
        ("rtsp://me:secret@door:554/1", "rtsp://door:554/1"),
        ("rtsp://me:sec@ret@door/1", "rtsp://door/1"),
        ("rtsp://me:sec/ret@door/1", "rtsp://door/1"),
        ("rtsp://me:sec?ret#@door/1", "rtsp://door/1"),
        ("http://door/v.cgi?user=me&pwd=secret", "http://door/v.cgi"),
        ("http://door/v#secret", "http://door/v"),
        ("HTTP://secret@door", "http://door"),
        ("http://door/v?mail=me@secret", "http://secret"),  # too much is left out rather than too little
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert is_address(address)
    assert shown_address(address) == shown


def test_files_about_a_stream_have_no_secret_in_their_name() -> None:
    assert stem_of_address("rtsp://me:secret@door:554/live/ch1.sdp?pwd=secret") == "door-ch1"
    assert stem_of_address("http://10.0.0.1/../../etc/passwd") == "10.0.0.1-passwd"
    assert "/" not in stem_of_address("http://a/b/c?x=/d")
    assert stem_of_address("http://door") == "door"


@pytest.mark.parametrize("address", ["ftp://me:secret@door/1", "file:///etc/passwd", "udp://@:1", "http://"])
def test_other_schemes_are_refused_without_the_password(address: str) -> None:
    with pytest.raises(InputError) as refused:
        check_scheme(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["door.mp4", "C:/door.mp4", "C:\\door.mp4", "a/b://c".replace("://", ":/"), "-"]
)
def test_names_of_files_are_no_addresses(name: str) -> None:
    assert not is_address(name)
