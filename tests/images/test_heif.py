"""HEIC photographs are read as all others where pi-heif is installed, and named where it is not."""

import base64
import sys

import pytest
from PIL import Image

from aerostat.errors import InputError
from aerostat.images.kinds import UnsupportedImageError
from aerostat.images.read import decode_image, list_images, read_header, read_image, read_resized, read_size

TURNED = base64.b64decode(
    """
    AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAcltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
    ADRpbG9jAAAAAERAAAIAAQAAAAAB7QABAAAAAAAAAZEAAgAAAAADfgABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA
    AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABCGlwcnAAAADnaXBjbwAAAHdodmNDAQQIAAAA
    njgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VyU
    1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMAiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNs
    YXAAAAA8AAAAAQAAACgAAAAB/////AAAAAL////oAAAAAgAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAZaXBtYQAAAAAAAAAB
    AAEGgQIDBYSGAAAAGmlyZWYAAAAAAAAADmNkc2MAAgABAAEAAAG9bWRhdAAAAY0oAa8GuPIoW3Of9IJ///6tv9D+a9ThddIo9Hhi
    yXgFSQmdpZGGEtHDDwQfLL82O0v3y+h26R7YBSCrP2KFKVWiQLb18aQcZ/N7Tfb8e556RLoLKI0V0JV13nCToe5z6vHxn/ak/cl4
    h01q/4wK0Kh0b5uJTrimcz/7lXd3HoKbrc2qkEe+SCPiHcjwOjYE10Yu0+y8Ygl07Qgap8J9ln/oF9PGgcnkqCrP+0Jsd4RQKvh1
    iou+NNVd63g9qBHX2fsUKUqtEXWYIFF+UVX9+qRtHCvU6UOw1X1pzw3WdV4PJjS69rcF+D2y1aOH4dF+xGdKRI4ICqYBB6j2ZGFy
    RWU34HW8M+P6dzWhWanM2Gdq575VzVhUN9fdxPGkqUBM4RtKKmVkepeu4ssryls6s8LC5KOTDE6OR0YC2uDVZPn/JvczUHEmlp/b
    0vUKRfYFbx4tO1cRzaoVnnqCTpEzlXnHA3/kbreXaDtdfT5BdnMtUxtmiH/c/yx/g0L0Kg+SURhGc/Em8iWJgpONiwIlAAAABkV4
    aWYAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA
    """
)
"""Quarters stored as 60 x 40: red and blue above, green and yellow below. `irot` and EXIF both say that they
are seen turned by 90 degrees to the right. Written by libheif 1.23 with x265."""
RED, BLUE, GREEN, YELLOW = (200, 30, 10), (20, 40, 230), (10, 220, 30), (240, 240, 30)


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(TURNED)
    return path


def test_a_photograph_is_turned_upright_once(photograph):
    pytest.importorskip("pi_heif")
    image = read_image(photograph)
    assert image.shape == (60, 40, 3) and read_size(photograph) == (40, 60)
    corners = [image[y, x, ::-1].astype(int) for y, x in ((5, 5), (5, 35), (55, 5), (55, 35))]
    for found, expected in zip(corners, (GREEN, RED, YELLOW, BLUE), strict=True):
        assert abs(found - expected).max() <= 4
    assert read_resized(photograph, (20, 30)).shape == (30, 20, 3)
    header = read_header(photograph)
    assert header is not None and (header.format, header.orientation) == ("HEIF", 1)
    assert "HEIF" not in Image.OPEN, "other code of the process has its own plugins"


@pytest.mark.parametrize("length", [200, 500, 900])
def test_a_cut_photograph_is_called_broken(length):
    pytest.importorskip("pi_heif")
    with pytest.raises(InputError, match=r"broken or cut-off image file: a\.heic"):
        decode_image(TURNED[:length], "a.heic")


def test_a_size_beyond_that_of_cameras_is_refused():
    pytest.importorskip("pi_heif")
    stated = b"ispe" + bytes(4)
    size = (64).to_bytes(4, "big")  # a crop makes 60 x 40 of it
    content = TURNED.replace(stated + 2 * size, stated + 2 * (20_000).to_bytes(4, "big"))
    assert content != TURNED
    with pytest.raises(InputError, match="claims 20000 x 20000 pixels"):
        decode_image(content, "a.heic")


def test_without_the_package_the_sentence_names_it(photograph, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    for read in (read_size, read_image):
        with pytest.raises(UnsupportedImageError, match="a HEIC photograph, which needs the package pi-heif"):
            read(photograph)
    with pytest.raises(UnsupportedImageError, match=r"pip install 'aerostat\[heic\]', or save .* as JPEG"):
        read_size(photograph)


def test_photographs_of_telephones_are_listed(photograph):
    assert list_images(photograph.parent) == [photograph]
