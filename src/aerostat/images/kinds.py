"""What a file is that is not read as an image: a pointer, a web page, an archive, another kind of image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from PIL import features

from aerostat.errors import InputError
from aerostat.text import counted

PREFIX = 4096
"""Bytes that tell what a file is."""

HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))

RAW_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "iiq", "kdc", "mef", "mos", "mrw", "nef"),
        *("nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
"""Lower-case suffixes of cameras' raw files; many of them begin as a TIFF file does."""

CLIP_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv"),
        *("ts", "webm", "wmv"),
    )
)
"""Lower-case suffixes of video clips."""


class UnsupportedImageError(InputError):
    """The file is whole, and of a kind that is not read."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is, and the way out.

    Args:
        found: a noun with its article.
        remedy: a clause that tells what to do.
        is_picture: whether it shows something, but is not read: an image of another kind, or a clip.
        why: a picture of this kind is not read, a clause.
    """

    found: str
    remedy: str
    is_picture: bool = True
    why: str = "which is not supported"

    def error(self, name: str) -> InputError:
        """Return the error for a file of this kind."""
        why = f", {self.why}" if self.is_picture else ""
        sentence = f"Expected an image, found {self.found}{why}: {name}; {self.remedy}."
        return UnsupportedImageError(sentence) if self.is_picture else InputError(sentence)


_CONVERT = "save it as JPEG or PNG"
_DOWNLOAD = "download the image again"
_UNPACK = "unpack it and use the images inside"

RAW = Kind("a camera's raw file", "develop it to JPEG, PNG or TIFF")
CLIP = Kind("a video clip", "save frames of it as images", why="which is not read yet")
HEIC = Kind(
    "a HEIC photograph",
    "install it with: pip install 'aerostat[heic]', or save the photograph as JPEG",
    why="which needs the package pi-heif",
)
LFS_POINTER = Kind("a Git LFS pointer", 'run "git lfs pull" where the data were cloned', False)
ANNEX_POINTER = Kind("a git-annex pointer", 'run "git annex get ." where the data were cloned', False)

_MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"8BPS", Kind("a Photoshop file (PSD)", _CONVERT)),
    (0, b"%PDF", Kind("a PDF document", "save its pages as images")),
    (0, b"%!PS", Kind("a PostScript file", "save its pages as images")),
    (0, b"\xc5\xd0\xd3\xc6", Kind("a PostScript file", "save its pages as images")),
    (128, b"DICM", Kind("a DICOM file", "save its pixels as PNG with 8 or 16 bits")),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", Kind("a JPEG XL image", _CONVERT)),
    (0, b"\xff\x0a", Kind("a JPEG XL image", _CONVERT)),
    (0, b"II\xbc\x01", Kind("a JPEG XR image", _CONVERT)),
    (0, b"v/1\x01", Kind("an OpenEXR image", "save it with 8 or 16 bits")),
    (0, b"#?RADIANCE", Kind("a Radiance HDR image", "save it with 8 or 16 bits")),
    (0, b"#?RGBE", Kind("a Radiance HDR image", "save it with 8 or 16 bits")),
    (0, b"SIMPLE  =", Kind("a FITS image", "save it with 8 or 16 bits")),
    (0, b"\x89HDF\r\n", Kind("an HDF5 file", "save its images as PNG")),
    (0, b"\x93NUMPY", Kind("a NumPy array", "save it as PNG")),
    (0, b"\0\0\x01\0", Kind("an icon file", _CONVERT)),
    (0, b"icns", Kind("an icon file", _CONVERT)),
    (0, b"DDS ", Kind("a DDS texture", _CONVERT)),
    (0, b"qoif", Kind("a QOI image", _CONVERT)),
    (0, b"gimp xcf", Kind("a GIMP file (XCF)", _CONVERT)),
    (0, b"BPG\xfb", Kind("a BPG image", _CONVERT)),
    (0, b"AT&TFORM", Kind("a DjVu document", "save its pages as images")),
    # cameras' raw files that do not begin as a TIFF file
    *((0, magic, RAW) for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb")),
    *((0, magic, RAW) for magic in (b"\0MRM", b"IIII", b"II\x1a\0\0\0HEAPCCDR")),
    # clips
    (0, b"\x1aE\xdf\xa3", CLIP),
    (8, b"AVI ", CLIP),
    (0, b"0&\xb2u\x8ef\xcf\x11", CLIP),
    (0, b"FLV\x01", CLIP),
    (0, b"OggS", CLIP),
    (0, b"\0\0\x01\xba", CLIP),
    (0, b"\0\0\x01\xb3", CLIP),
    *((4, atom, CLIP) for atom in (b"moov", b"mdat", b"wide")),
    # no picture
    (0, b"PK\x03\x04", Kind("a zip archive", _UNPACK, False)),
    (0, b"PK\x05\x06", Kind("an empty zip archive", _DOWNLOAD, False)),
    (0, b"\x1f\x8b", Kind("a gzip file", _UNPACK, False)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK, False)),
    (0, b"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK, False)),
    (0, b"BZh", Kind("a bzip2 file", _UNPACK, False)),
    (0, b"\xfd7zXZ\0", Kind("an xz file", _UNPACK, False)),
    (0, b"(\xb5/\xfd", Kind("a zstd file", _UNPACK, False)),
    (257, b"ustar", Kind("a tar archive", _UNPACK, False)),
    (
        0,
        b"\0\x05\x16\x07",
        Kind("a file of macOS without pixels", "use the image without ._ before it", False),
    ),
    (0, b"L\0\0\0\x01\x14\x02\0", Kind("a shortcut of Windows", "use the image that it points to", False)),
)
"""First bytes of files by their offset. ISO BMFF is in `_boxed`, text in `_text`."""

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_STILL_BRANDS = frozenset((b"mif1", b"mif2", b"msf1"))


def kind_of(content: bytes) -> Kind | None:
    """Return what a file is that is no image for the decoders; None if its bytes do not tell.

    >>> kind_of(b"version https://git-lfs.github.com/spec/v1").found
    'a Git LFS pointer'

    Args:
        content: the first `PREFIX` bytes of the file, or all of it.
    """
    start = content[:PREFIX]
    for offset, magic, kind in _MAGIC:
        if start.startswith(magic, offset):
            return kind
    if start and not content.strip(b"\0"):
        return Kind("a file of zeros", "copy it again", False)
    return _boxed(start) or _jpeg_process(start) or _text(start)


def is_heif(start: bytes) -> bool:
    """Return whether a file begins as HEIC or HEIF, which hold HEVC (ISO/IEC 23008-12, annex B)."""
    if start[4:8] != b"ftyp":
        return False
    brands = _brands(start)
    return start[8:12] in _HEIF_BRANDS or (start[8:12] in _STILL_BRANDS and not brands & {b"avif", b"avis"})


def _brands(start: bytes) -> set[bytes]:
    end = min(int.from_bytes(start[:4], "big"), len(start), 256)
    return {start[8:12], *(start[at : at + 4] for at in range(16, end - 3, 4))}


def _boxed(start: bytes) -> Kind | None:
    """Return the kind of a file of boxes (ISO/IEC 14496-12) by its brand, or of a stream of packets."""
    if start[4:8] != b"ftyp":
        is_stream = len(start) > 376 and start[0] == start[188] == start[376] == 0x47  # ISO/IEC 13818-1
        return CLIP if is_stream else None
    if len(start) < 16:
        return None
    if is_heif(start):
        return HEIC
    if start[8:12] == b"crx ":
        return RAW
    if _brands(start) & {b"avif", b"avis"}:
        is_broken = features.check("avif")
        return None if is_broken else Kind("an AVIF image", _CONVERT, why="which this Pillow does not decode")
    return CLIP


def _jpeg_process(start: bytes) -> Kind | None:
    """Return JPEG-LS, which decoders of JPEG do not know (ITU-T T.87)."""
    if start.startswith((b"\xff\xd8\xff\xf7", b"\xff\xd8\xff\xe8")):
        return Kind("a JPEG-LS image", _CONVERT)
    return None


def _text(start: bytes) -> Kind | None:
    """Return what a text is; None for bytes that are no text."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Kind("a text", _DOWNLOAD, False)
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # a character may be cut at the end
            return None
        text = start[: error.start].decode("utf-8-sig")
    if re.search(r"[\x00-\x08\x0e-\x1a]", text):
        return None
    text = text.lstrip()
    if re.match(r"version https?://[a-z.-]+/spec/v?\d", text) or "git-media.io/v/" in text[:60]:
        return LFS_POINTER
    if re.match(r"(\.\./)*(\.git)?/?annex/objects/", text):
        return ANNEX_POINTER
    if re.match(r"outs:\s*\n\s*- (md5|hash|etag)", text):
        return Kind("a DVC pointer", 'run "dvc pull" where the data were cloned', False)
    return _markup(text)


def _markup(text: str) -> Kind | None:
    head = re.sub(r"<!--.*?(-->|\Z)|<\?.*?(\?>|\Z)", "", text, flags=re.DOTALL).lstrip().lower()
    if re.match(r"(<!doctype\s+svg|<svg\b|<svg:svg\b)", head):
        return Kind("an SVG drawing", _CONVERT)
    if re.match(r"<(!doctype\s+html|html|head|body|script|meta|title|div|p)\b", head):
        return Kind("a web page, as a failed download leaves it", _DOWNLOAD, False)
    code = re.search(r"<(?:code|message)>\s*([\w .-]{1,60}?)\s*</", text, re.IGNORECASE)
    if head.startswith("<") and code:
        return Kind(f"an error message of a store ({code[1]})", _DOWNLOAD, False)
    if head.startswith("<"):
        return Kind("an XML file", _DOWNLOAD, False)
    if head.startswith(("{", "[")):
        return Kind("a JSON file", _DOWNLOAD, False)
    return Kind("a text", _DOWNLOAD, False) if text else None


def unread_pictures(paths: Sequence[PurePath], *, clips: bool = True) -> str:
    """Return how many video clips and raw files are among files, with the first; empty if there are none.

    Args:
        paths: the files.
        clips: whether clips count.

    >>> unread_pictures([PurePath("a.mp4"), PurePath("b.jpg")])
    '1 video clip (first a.mp4)'
    """
    texts = []
    for noun, suffixes in (("video clip", CLIP_SUFFIXES), ("raw file of a camera", RAW_SUFFIXES)):
        found = [path.name for path in paths if path.suffix.lower() in suffixes]
        if found and (clips or suffixes is not CLIP_SUFFIXES):
            plural = "" if noun == "video clip" else "raw files of cameras"
            texts.append(f"{counted(len(found), noun, plural)} (first {found[0]})")
    return " and ".join(texts)
