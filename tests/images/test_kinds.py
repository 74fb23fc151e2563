"""What a file is that is no image, or an image of a kind that is not read: named, with the way out."""

import io
import tarfile
import zipfile
from pathlib import PurePath

import pytest

from aerostat.errors import InputError
from aerostat.images.kinds import UnsupportedImageError, kind_of, unread_pictures
from aerostat.images.read import decode_image, read_image, read_size


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "a")
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return stream.getvalue()


def boxes(brand: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content + b"\0\0\0\x08mdat" + bytes(64)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
NO_IMAGES = {
    "Git LFS": (POINTER, 'a Git LFS pointer: x.jpg; run "git lfs pull"'),
    "old Git LFS": (POINTER.replace(b"git-lfs.github.com", b"hawser.github.com"), "a Git LFS pointer"),
    "git-annex": (b"/annex/objects/SHA256E-s12--ab.jpg\n", "a git-annex pointer: x.jpg; run"),
    "git-annex link": (b"../.git/annex/objects/zz/yy/SHA256E-s12--ab.jpg", "a git-annex pointer"),
    "DVC": (b"outs:\n- md5: aa\n  path: a.jpg\n", 'run "dvc pull"'),
    "web page": (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>404</body>", "a web page.*download the image"),
    "page with comment": (b"<!-- x --><HTML><head>", "a web page"),
    "store": (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>',
        r"an error message of a store \(AccessDenied\): x.jpg; download",
    ),
    "XML": (b"<?xml version='1.0'?><annotation><folder>a</folder></annotation>", "an XML file"),
    "JSON": (b'{"error": "not found"}', "a JSON file"),
    "text": (b"too many requests", "a text"),
    "UTF-16": ("too many requests".encode("utf-16"), "a text"),
    "zeros": (bytes(5000), "a file of zeros: x.jpg; copy it again"),
    "zip": (zipped(), "a zip archive: x.jpg; unpack it"),
    "tar": (tarred(), "a tar archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "a gzip file"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "a file of macOS"),
}
PICTURES = {
    "HEIC": (boxes(b"heic", b"mif1", b"heic"), "a HEIC photograph, which needs the package pi-heif"),
    "CR3": (boxes(b"crx ", b"crx ", b"isom"), "a camera's raw file, which is not supported"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a camera's raw file.*develop it"),
    "RW2": (b"IIU\0\x18\0\0\0", "a camera's raw file"),
    "ORF": (b"IIRO\x08\0\0\0", "a camera's raw file"),
    "PSD": (b"8BPS\0\x01" + bytes(20), "a Photoshop file"),
    "SVG": (b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg">', "an SVG drawing"),
    "SVG with doctype": (b'<!DOCTYPE svg PUBLIC "a" "b">\n<svg>', "an SVG drawing"),
    "PDF": (b"%PDF-1.7\n", "a PDF document"),
    "DICOM": (bytes(128) + b"DICM\x02\0", "a DICOM file"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "a JPEG XL image"),
    "JPEG XL stream": (b"\xff\x0a\x41\x42", "a JPEG XL image"),
    "JPEG-LS": (b"\xff\xd8\xff\xf7\0\x0b\x08" + bytes(9) + b"\xff\xda\0\x02\xff\xd9", "a JPEG-LS image"),
    "EXR": (b"v/1\x01\x02\0\0\0", "an OpenEXR image"),
    "HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "a Radiance HDR image"),
    "NumPy": (b"\x93NUMPY\x01\0", "a NumPy array"),
    "MP4": (boxes(b"isom", b"mp41"), "a video clip, which is not read yet: x.jpg; save frames"),
    "MOV": (boxes(b"qt  "), "a video clip"),
    "3GP": (boxes(b"3gp5"), "a video clip"),
    "AVI": (b"RIFF\x10\0\0\0AVI LIST" + bytes(20), "a video clip"),
    "WebM": (b"\x1aE\xdf\xa3\x01\0\0\0", "a video clip"),
    "MPEG": (b"\0\0\x01\xba" + bytes(20), "a video clip"),
    "MPEG stream": ((b"G" + bytes(187)) * 4, "a video clip"),
}


@pytest.fixture(autouse=True)
def no_reader_of_heic(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_named_with_the_way_out(name):
    content, words = NO_IMAGES[name]
    with pytest.raises(InputError, match=words) as raised:
        decode_image(content, "x.jpg")
    assert not isinstance(raised.value, UnsupportedImageError)
    assert "broken" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_of_a_kind_that_is_not_read_is_named_and_not_called_broken(name):
    content, words = PICTURES[name]
    with pytest.raises(UnsupportedImageError, match=words) as raised:
        decode_image(content, "x.jpg")
    assert "broken" not in str(raised.value) and "\n" not in str(raised.value)


def test_the_size_of_such_a_file_is_refused_in_the_same_words(tmp_path):
    for content, _ in (*NO_IMAGES.values(), *PICTURES.values()):
        path = tmp_path / "x.jpg"
        path.write_bytes(content)
        sentences = []
        for read in (read_size, read_image):
            with pytest.raises(InputError) as raised:
                read(path)
            sentences.append(str(raised.value))
        assert sentences[0] == sentences[1]


@pytest.mark.parametrize("content", [b"", b"\x80\x81\x82\x83" * 30, b"\x01\x02", b"\0\0\0\x20ftyp"])
def test_bytes_that_tell_nothing_have_no_kind(content):
    assert kind_of(content) is None


def test_a_large_file_is_looked_at_by_its_beginning():
    assert kind_of(b"<" * 5_000_000) is not None
    assert kind_of(b"<!--" * 1_000_000) is not None


def test_clips_and_raw_files_are_counted():
    names = ["a.MP4", "b.mov", "c.jpg", "d.NEF", "e.txt"]
    assert (
        unread_pictures([PurePath(name) for name in names])
        == "2 video clips (first a.MP4) and 1 raw file of a camera (first d.NEF)"
    )
    assert unread_pictures([PurePath("a.jpg")]) == ""
