"""The one image reader, and the one transform that takes an image into the network and everything back.

What the reader makes of a file:

- EXIF orientation 1 to 8 is applied (in TIFF its own orientation tag), so an image is always upright;
- grey, palette and one-bit images become three channels;
- an alpha channel is dropped and the colours stay as stored, also under full transparency;
- 16 bits per channel are scaled to 8 (the high byte, in TIFF rounded); floating-point images are refused;
- CMYK (JPEG, TIFF) is converted to BGR;
- of an animation (GIF, WebP, APNG) the first frame is read;
- a file whose end is missing is refused, whatever the decoder could have made of its beginning;
- a file so small that its pixels would take more than 50 times its size and 180 MB beside is refused before
  any is decoded, from 10 to 30 million pixels on, depending on the format: it is a bomb, or drawn. Pixels up
  to the number in the environment's AEROSTAT_MOST_PIXELS are read from however small a file.

File names may be in any script: the bytes are read by Python and only then decoded by OpenCV.

`read_resized` gives the same at a smaller size, and spares a JPEG's decoder what would not be seen.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aerostat.errors import InputError

PAD_VALUE = 114
"""The grey of padding in the published training and test pipelines (MMDetection 3.x, RTMDet configs)."""

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "avif", "jp2"),
        *("ppm", "pgm", "pbm", "pnm"),
    )
)
"""Lower-case suffixes of the files that `list_images` takes for images."""

_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_JPEG_START = b"\xff\xd8\xff"
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, section 4.6.4

_BYTES_PER_PIXEL = {"TIFF": 14, "GIF": 9, "WEBP": 7, "AVIF": 18, "JPEG2000": 18}
"""What decoding takes at most, measured at 4000 x 4000 with OpenCV 5.0; of other formats 6, and of a JPEG in
which each pixel is refined several times 9."""
_WITH_PILLOW = 22
_MEMORY_PER_BYTE = 50
_MEMORY_BESIDE = 180 << 20
_MOST_SCANS = 64
"""Of a JPEG; progressive ones have about ten. Each scan goes over all pixels, however few bytes it has: 51
bytes take 15 ms at 5600 x 5600, so a megabyte of them would take five minutes."""

if "OPENCV_LOG_LEVEL" not in os.environ:
    # A broken file raises one sentence that names it; OpenCV's own lines on stderr name nothing.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 BGR, upright; the module's docstring says what becomes of what.

    Raises:
        InputError: the file is missing, empty, cut off or no image.
    """
    return decode_image(_read_bytes(Path(path)), str(path))


def read_resized(path: Path | str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read an image file as `read_image` does and return it resized to `size` = (width, height).

    A JPEG is decoded at a half, a quarter or an eighth of its size where that is still as large as `size`:
    its decoder then takes the mean of blocks, as far as that goes, without making their pixels. The rest is
    bilinear, and never in one step of more than two to one, which would leave pixels out.

    Args:
        path: of the file.
        size: of the result, in pixels of the upright image.

    Raises:
        InputError: the file is missing, empty, cut off or no image.
    """
    content = _read_bytes(Path(path))
    header = _open_header(io.BytesIO(content))
    orientation = _orientation(header)
    target = (size[1], size[0]) if orientation >= 5 else size
    factor = 1
    if header is not None and content.startswith(_JPEG_START):
        smallest = min(header.size[0] / target[0], header.size[1] / target[1])
        factor = next((factor for factor in _REDUCED if factor <= smallest), 1)
    image_bgr = _decode_stored(content, str(path), header, factor)
    covered: tuple[float, float] = (image_bgr.shape[1], image_bgr.shape[0])
    if factor > 1 and header is not None and covered != header.size:
        # The last block of a row or column may reach beyond the image.
        covered = header.size[0] / factor, header.size[1] / factor
    return np.ascontiguousarray(_turn_upright(_resample(image_bgr, covered, target), orientation))


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as `read_image` does.

    Args:
        content: the whole file.
        name: what the error message calls it.

    Raises:
        InputError: the bytes are no image, or their end is missing.
    """
    header = _open_header(io.BytesIO(content))
    return np.ascontiguousarray(_turn_upright(_decode_stored(content, name, header), _orientation(header)))


def _decode_stored(
    content: bytes, name: str, header: Image.Image | None, factor: int = 1
) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to what is stored, not yet turned upright.

    Args:
        content, name: as for `decode_image`.
        header: what `_open_header` makes of the bytes.
        factor: 1, 2, 4 or 8: a JPEG is decoded to a size so much smaller, rounded up.
    """
    if not content:
        raise InputError(f"Expected an image, found an empty file: {name}; copy it again or leave it out.")
    if _is_cut_jpeg(content):
        raise InputError(
            f"Expected a whole image, found a JPEG file whose end is missing: {name}; copy it again."
        )
    size = _coded_size(content, header)
    if size is not None:
        _refuse_bomb(size, header, len(content), name)
    if _has_too_many_scans(content):
        raise InputError(
            f"Expected an image, found a JPEG file that draws its pixels more than {_MOST_SCANS} times over: "
            f"{name}; leave it out."
        )
    decoders: list[Callable[[], NDArray[np.uint8] | None]] = []
    if size is not None:  # or nothing could be said of what it would cost
        decoders.append(partial(_decode_with_opencv, content, factor))
        if size[0] * size[1] * _WITH_PILLOW <= max(_room(len(content)), _trusted_pixels() * _WITH_PILLOW):
            decoders.append(partial(_decode_with_pillow, content))
    if header is not None and header.format == "TIFF" and header.mode == "RGBA":
        decoders.reverse()  # OpenCV would multiply the colours by alpha
    decoded = (decode() for decode in decoders)
    image_bgr = next((image for image in decoded if image is not None), None)
    if image_bgr is None:
        found = "a broken or cut-off" if header else "no readable"
        raise InputError(f"Expected an image, found {found} image file: {name}; mend it or leave it out.")
    return image_bgr


def _room(length: int) -> int:
    """Return how many bytes the decoding of a file of that length may take."""
    return _MEMORY_PER_BYTE * length + _MEMORY_BESIDE


def _trusted_pixels() -> int:
    """Return the number of pixels that are read from however small a file."""
    text = os.environ.get("AEROSTAT_MOST_PIXELS", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _refuse_bomb(size: tuple[int, int], header: Image.Image | None, length: int, name: str) -> None:
    """Refuse an image whose pixels are out of proportion to its file.

    Raises:
        InputError: naming both.
    """
    per_pixel = _BYTES_PER_PIXEL.get(header.format or "", 6) if header else 9
    if header is not None and header.info.get("progressive"):
        per_pixel = 9
    pixels = size[0] * size[1]
    if pixels * per_pixel > _room(length) and pixels > _trusted_pixels():
        raise InputError(
            f"Expected an image, found a file of {length} bytes that claims {size[0]} x {size[1]} pixels: "
            f"{name}; leave it out, or set AEROSTAT_MOST_PIXELS={pixels} to read it all the same."
        )


def _coded_size(content: bytes, header: Image.Image | None) -> tuple[int, int] | None:
    """Return the size (width, height) that the decoder will meet; None if nothing states one."""
    if content.startswith(_JPEG_START) and header is None:  # Pillow may stumble over what is beside the image
        return _jpeg_size(content)
    if header is None:
        return None
    width, height = header.size
    start = content.find(b"\xff\x4f\xff\x51") if header.format == "JPEG2000" else -1
    if start >= 0:  # the codestream (ITU-T T.800, A.5.1) need not agree with the box before it
        right, bottom, left, top = struct.unpack(">4I", content[start + 8 : start + 24].ljust(16, b"\0"))
        return max(width, right - left), max(height, bottom - top)
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return the size in a JPEG's frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


def _has_too_many_scans(content: bytes) -> bool:
    """Say whether a JPEG has more scans than `_MOST_SCANS` before its end; what follows it does not count."""
    if not content.startswith(_JPEG_START) or content.count(b"\xff\xda") <= _MOST_SCANS:
        return False
    scans, at = 0, 2
    while (match := _MARKER.search(content, at)) is not None and match[0] != b"\xff\xd9":
        scans += match[0] == b"\xff\xda"
        if scans > _MOST_SCANS:
            return True
        at = match.end() + int.from_bytes(content[match.end() : match.end() + 2], "big")
    return False


def _resample(
    image_bgr: NDArray[np.uint8], covered: tuple[float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return an image resized bilinearly to `size`, in steps of at most two to one.

    Args:
        image_bgr: (H, W, 3) uint8.
        covered: how much of its width and height is the image; the rest, less than a pixel, is beyond it.
        size: (width, height) of the result.
    """
    if covered[0] > 2 * size[0] and covered[1] > 2 * size[1]:
        image_bgr = _resample(image_bgr, covered, (2 * size[0], 2 * size[1]))
        return resize_image(image_bgr, size)
    if covered == (image_bgr.shape[1], image_bgr.shape[0]):
        return resize_image(image_bgr, size)
    # The other edges have to keep their places: not all of the image fills the result.
    step_x, step_y = covered[0] / size[0], covered[1] / size[1]
    steps = np.asarray([[step_x, 0, step_x / 2 - 0.5], [0, step_y, step_y / 2 - 0.5]], np.float64)
    if max(step_x, step_y) < 1.01:  # `cv2.resize` copies what keeps its size, whatever it is told
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        resized = cv2.warpAffine(image_bgr, steps, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        resized = cv2.resize(image_bgr, None, fx=1 / step_x, fy=1 / step_y, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized[: size[1], : size[0]], np.uint8)


def read_size(path: Path | str) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright image, from the header alone.

    It equals the shape of what `read_image` returns. The pixels may still be broken: only that finds it out.

    Raises:
        InputError: the file is missing, empty or no image.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = _open_header(file)
            if header is not None:
                width, height = header.size
                _refuse_bomb(header.size, header, os.fstat(file.fileno()).st_size, str(path))
                return (height, width) if _orientation(header) >= 5 else (width, height)
    except OSError as error:
        raise _unreadable(path, error) from None
    height, width = read_image(path).shape[:2]
    return width, height


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image file says.

    Args:
        format: Pillow's name of it, such as ``JPEG``.
        stored_size: (width, height) in pixels as they are stored.
        orientation: EXIF's, 1 to 8; from 5 on rows and columns change places.
    """

    format: str
    stored_size: tuple[int, int]
    orientation: int


def read_header(path: Path | str) -> Header | None:
    """Return what the header of an image file says; None if it is none that is known.

    Raises:
        InputError: there is no file, or it cannot be opened.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = _open_header(file)
            if header is None:
                return None
            return Header(header.format or "", header.size, _orientation(header))
    except OSError as error:
        raise _unreadable(path, error) from None


def list_images(folder: Path | str, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder by their suffix, sorted by path, hidden files left out.

    Args:
        folder: where to look.
        recursive: look in its sub-folders too.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"Expected a folder of images, found {what_stands_at(folder)}: {folder}.")
    found = folder.rglob("*") if recursive else folder.iterdir()
    images = (p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in images if p.is_file()), key=lambda p: p.as_posix())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    if not path.is_file():
        return InputError(f"Expected an image file, found {what_stands_at(path)}: {path}.")
    reason = getattr(error, "strerror", None) or error
    return InputError(f"Expected a readable image file, found one that cannot be opened ({reason}): {path}.")


def what_stands_at(path: Path) -> str:
    """Say what is found at a path where something else was expected."""
    if path.is_dir():
        return "a folder"
    return "a file" if path.exists() else "nothing"


def _is_cut_jpeg(content: bytes) -> bool:
    """Say whether a JPEG has no end marker behind the start of its first scan (ITU-T T.81, annex B).

    The segments before it are stepped over, because the preview in an EXIF segment has an end of its own.
    """
    if not content.startswith(_JPEG_START):
        return False
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xDA:  # start of scan
            return content.rfind(b"\xff\xd9", at) < 0  # from the back, where it stands in a whole file
        is_fill = content[at + 1] == 0xFF
        at += 1 if is_fill else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at + 4 > len(content)


def _decode_with_opencv(content: bytes, factor: int = 1) -> NDArray[np.uint8] | None:
    # Which formats OpenCV turns upright depends on its version: `_turn_upright` does it by one rule.
    flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _decode_with_pillow(content: bytes) -> NDArray[np.uint8] | None:
    """Decode what an older or smaller build of OpenCV does not know, such as GIF before 4.11."""
    header = _open_header(io.BytesIO(content))
    if header is None or header.mode not in _EIGHT_BIT_MODES:
        return None
    try:
        image_rgb = np.asarray(header.convert("RGB"), np.uint8)
    except Exception:  # a plugin raises whatever broken pixels make it stumble over
        return None
    return image_rgb[:, :, ::-1]


def _open_header(file: IO[bytes]) -> Image.Image | None:
    """Open an image without decoding its pixels; None if Pillow does not know it.

    `Image.open` refuses more than 179 million pixels, which aerial photographs have; its plugins do not.
    """
    Image.init()
    prefix = file.read(16)
    for name in _PILLOW_FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is None or (accepts is not None and not accepts(prefix)):
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except Exception:  # a plugin raises whatever a broken header makes it stumble over
            continue
    return None


def _orientation(header: Image.Image | None) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it is broken.

    `Image.getexif` would decode a PNG's pixels to look for EXIF behind them, and take XMP's word as well.
    TIFF keeps its orientation elsewhere and both decoders have applied it already.
    """
    if header is None or header.format == "TIFF" or not header.info.get("exif"):
        return 1
    exif = Image.Exif()
    try:
        exif.load(header.info["exif"])
        value = exif.get(_ORIENTATION_TAG, 1)
    except Exception:  # EXIF blocks are broken in every way that exists
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn_upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.3: where row 0 and column 0 of the stored pixels are to be seen)."""
    if orientation >= 5:  # rows and columns change places
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):  # row 0 is seen at the bottom
        image = image[::-1]
    if orientation in (2, 3, 6, 7):  # column 0 is seen at the right
        image = image[:, ::-1]
    return image


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How one image went into the network: resized keeping its ratio, then padded to the input size.

    Sizes are (width, height) in pixels. Points scale by new / old size per axis, as pixel edges: x = 0 is the
    left edge of the first pixel and x = width the right edge of the last one, so the inverse is exact.

    Args:
        source_size: the upright image.
        input_size: the network's input.
        resized_size: the image after the resize.
        pad_left, pad_top: where the resized image begins in the input; what is left over is right and below.
        pad_value: the grey of the padding.
    """

    source_size: tuple[int, int]
    input_size: tuple[int, int]
    resized_size: tuple[int, int]
    pad_left: int = 0
    pad_top: int = 0
    pad_value: int = PAD_VALUE

    def __post_init__(self) -> None:
        for name in ("source_size", "input_size", "resized_size"):
            size = getattr(self, name)
            if len(size) != 2 or min(size) < 1:
                raise InputError(f"Expected {name} as width and height of at least 1 pixel, found {size}.")
        x2, y2 = self.pad_left + self.resized_size[0], self.pad_top + self.resized_size[1]
        if min(self.pad_left, self.pad_top) < 0 or x2 > self.input_size[0] or y2 > self.input_size[1]:
            raise InputError(f"Expected the resized image inside the input {self.input_size}, found {self}.")

    @classmethod
    def fit(
        cls, source_size: tuple[int, int], input_size: tuple[int, int], enlarge: bool = True
    ) -> Letterbox:
        """Return the letterbox that fits an image into the input, padded at the right and below.

        The rounding is that of the published test pipeline (MMDetection 3.x, `Resize(keep_ratio=True)` and
        `Pad`): the new sides are int(side * scale + 0.5).

        Args:
            source_size: (width, height) of the upright image.
            input_size: (width, height) of the network's input.
            enlarge: whether an image smaller than the input grows to fill it.
        """
        scale = min(input_size[0] / source_size[0], input_size[1] / source_size[1])
        if not enlarge:
            scale = min(scale, 1.0)
        return cls(source_size, input_size, scaled_size(source_size, scale))

    @property
    def scale(self) -> tuple[float, float]:
        """Factors per axis (x, y) from the source to the input."""
        return self.resized_size[0] / self.source_size[0], self.resized_size[1] / self.source_size[1]

    @property
    def content_box(self) -> tuple[int, int, int, int]:
        """Where the image lies in the input, xyxy in input pixels; the rest is padding."""
        left, top = self.pad_left, self.pad_top
        return left, top, left + self.resized_size[0], top + self.resized_size[1]

    def apply(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) uint8 of `source_size` as the network's input (input_h, input_w, 3)."""
        found = (image_bgr.shape[1], image_bgr.shape[0])
        if found != self.source_size:
            raise InputError(
                f"Expected an image of {self.source_size} (width, height), found one of {found}."
            )
        x1, y1, x2, y2 = self.content_box
        width, height = self.input_size
        canvas = np.full((height, width, 3), self.pad_value, np.uint8)
        canvas[y1:y2, x1:x2] = resize_image(image_bgr, self.resized_size)
        return canvas

    def boxes_to_input(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return boxes (n, 4) of the source in pixels of the input."""
        return np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) * self._factors() + self._offsets()

    def boxes_to_source(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return boxes (n, 4) of the input in pixels of the source; not clipped to it."""
        return (np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) - self._offsets()) / self._factors()

    def map_to_source(self, values: NDArray[Any], *, strided: bool = False) -> NDArray[np.floating]:
        """Return a map over the input plane as a map over the source image.

        The cells under the padding are cut off, then the rest is interpolated linearly between the places of
        the values: the cells' centres, as `cv2.resize` does, but also where the image ends within a cell.

        Args:
            values: (h, w) or (h, w, C), covering the whole input including its padding at any resolution, for
                example that of a feature map of stride 8.
            strided: whether strided convolutions made the values. One of kernel 3, padding 1 and stride 2
                looks at the surroundings of the first of each two pixels, so that after several the value of
                a cell stands at its first pixel, half a cell to the left of and above its centre; RTMDet's
                points stand there, too.

        Returns:
            (source_h, source_w) or (source_h, source_w, C), in the floating dtype of `values`, else float32.
        """
        if values.ndim not in (2, 3) or 0 in values.shape[:2]:
            raise InputError(f"Expected a map of shape (h, w) or (h, w, C), found {values.shape}.")
        dtype = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float32)
        x1, y1, x2, y2 = self.content_box
        rows = _sampling(self.source_size[1], y1, y2, values.shape[0] / self.input_size[1], strided)
        columns = _sampling(self.source_size[0], x1, x2, values.shape[1] / self.input_size[0], strided)
        return _interpolate(_interpolate(values.astype(dtype, copy=False), *rows, 0), *columns, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the letterbox as JSON values."""
        return {
            "source_size": list(self.source_size),
            "input_size": list(self.input_size),
            "resized_size": list(self.resized_size),
            "pad_left": self.pad_left,
            "pad_top": self.pad_top,
            "pad_value": self.pad_value,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Letterbox:
        """Return the letterbox that `to_dict` wrote.

        Raises:
            InputError: a field is missing, unknown or of the wrong kind.
        """
        try:
            fields = {
                k: tuple(map(int, v)) if isinstance(v, list | tuple) else int(v) for k, v in values.items()
            }
            return cls(**fields)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise InputError(f"Expected the fields of a letterbox, found {dict(values)} ({error}).") from None

    def _factors(self) -> NDArray[np.float64]:
        return np.asarray(self.scale * 2, np.float64)

    def _offsets(self) -> NDArray[np.float64]:
        return np.asarray((self.pad_left, self.pad_top) * 2, np.float64)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return (width, height) times `scale`, rounded as MMCV's `rescale_size` does, at least 1 pixel each."""
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_image(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) uint8 resized bilinearly to `size` = (width, height)."""
    if (image_bgr.shape[1], image_bgr.shape[0]) == size:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_LINEAR), np.uint8)


Sampling = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]


def _sampling(length: int, start: int, stop: int, cells_per_pixel: float, strided: bool) -> Sampling:
    """Return for each of `length` pixel centres the two values it lies between and the share of the second.

    Args:
        length: pixels of the source along one axis.
        start, stop: where the image begins and ends in the input, in input pixels.
        cells_per_pixel: resolution of the map relative to the input.
        strided: whether values stand at the first pixels of their cells, instead of at the cells' centres.
    """
    first = math.floor(start * cells_per_pixel)
    last = max(first, math.ceil(stop * cells_per_pixel) - 1)
    centres = start + (np.arange(length) + 0.5) * ((stop - start) / length)
    place_in_cell = 0.5 * cells_per_pixel if strided else 0.5
    position = np.clip(centres * cells_per_pixel - place_in_cell, first, last)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, last), position - lower


def _interpolate(
    values: NDArray[Any],
    lower: NDArray[np.intp],
    upper: NDArray[np.intp],
    share: NDArray[np.float64],
    axis: int,
) -> NDArray[Any]:
    shape = [1] * values.ndim
    shape[axis] = -1
    weight = share.astype(values.dtype).reshape(shape)
    blended: NDArray[Any] = (
        np.take(values, lower, axis) * (1 - weight) + np.take(values, upper, axis) * weight
    )
    return blended
