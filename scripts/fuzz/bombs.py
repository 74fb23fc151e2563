"""Files made to cost: small ones that ask for much, and ones of some megabytes that ask again and again."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from scripts.fuzz import parsers
from scripts.fuzz.parsers import PARSERS, SIZE, Parser


def _bomb(name: str, make: Callable[[], bytes]) -> tuple[str, Parser]:
    """Return a parser whose only input is the bomb; its name begins with the name of the parser it is for."""
    of = PARSERS[name.partition("/")[0]]
    change = lambda content, others, dice: content  # noqa: E731
    return name, Parser(name, of.file_name, lambda: (make(),), (change,), of.read)


# ------------------------------------------------------------------------------------ annotations


def _via(regions: str, more: str = "") -> bytes:
    return f'{{"a":{{"filename":"a.png","size":1,"regions":{regions}}}{more}}}'.encode()


def _many(item: str, count: int) -> str:
    return "[" + ",".join([item] * count) + "]"


def _region(shape: str, attributes: str = '"class":"kite"') -> str:
    return f'{{"shape_attributes":{shape},"region_attributes":{{{attributes}}}}}'


def _zigzag(points: int) -> tuple[list[float], list[float]]:
    """Return an outline whose edges all overlap in x, so that each is to be compared with each."""
    return [1 + 60 * (i % 2) for i in range(points)], [round(1 + 40 * i / points, 4) for i in range(points)]


def _zigzag_region(points: int) -> str:
    xs, ys = _zigzag(points)
    return _region(json.dumps({"name": "polygon", "all_points_x": xs, "all_points_y": ys}))


def _classes(count: int) -> str:
    rect = '{"name":"rect","x":1,"y":1,"width":9,"height":9}'
    return "[" + ",".join(_region(rect, f'"class":"c{i}"') for i in range(count)) + "]"


def coco(images: str = "", annotations: str = "[]", categories: str = '[{"id":1,"name":"kite"}]') -> bytes:
    """Return a COCO file of these JSON arrays."""
    images = images or f'[{{"id":1,"file_name":"a.png","width":{SIZE[0]},"height":{SIZE[1]}}}]'
    return f'{{"images":{images},"annotations":{annotations},"categories":{categories}}}'.encode()


def _annotation(segmentation: str, bbox: str = "[1,1,40,40]") -> str:
    return f'{{"image_id":1,"category_id":1,"bbox":{bbox},"segmentation":{segmentation}}}'


def _zigzag_annotation(points: int) -> str:
    flat = [value for point in zip(*_zigzag(points), strict=True) for value in point]
    return _annotation(json.dumps([flat]))


def _upright_zigzag_annotation(points: int) -> str:
    """Return a record with an outline whose edges all cross every row."""
    flat = [value for across, down in zip(*_zigzag(points), strict=True) for value in (down, across / 2)]
    return _annotation(json.dumps([flat]))


def _specks_annotation(count: int) -> str:
    """Return a record of many small outlines that are spread over the image."""
    corners = [(1 + i * 7 % 59, 1 + i * 11 % 43) for i in range(count)]
    return _annotation(json.dumps([[x, y, x + 3, y, x, y + 3] for x, y in corners]))


def rle(counts: str) -> str:
    """Return a record whose mask has these counts, in JSON."""
    return _annotation(f'{{"size":[{SIZE[1]},{SIZE[0]}],"counts":{counts}}}')


CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
ROW = 'a.png,1,"{}",1,0,"{""name"":""rect"",""x"":1,""y"":1,""width"":9,""height"":9}","{""c"":""k""}"\n'


# ------------------------------------------------------------------------------------ checkpoints


def _archive(pickled: bytes, storages: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as target:
        target.writestr("x/data.pkl", pickled)
        for name, data in storages.items():
            target.writestr(f"x/data/{name}", data)
    return out.getvalue()


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _shared_storage(names: int, rows: int, kind: bytes, width: int) -> bytes:
    """Return a checkpoint that shows one storage turned on its side, which each time makes a copy."""
    size = struct.pack("<I", rows)
    storage = b"(" + _text("storage") + b"ctorch\n" + kind + b"Storage\n" + _text("0") + _text("cpu")
    storage += b"J" + struct.pack("<I", rows * rows) + b"tQ"
    shape = b"J" + size + b"J" + size + b"\x86" + b"K\x01J" + size + b"\x86"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"\x89)tR"
    parts = [b"\x80\x02}(", _text("a"), tensor, b"q\x01"]
    parts += [_text(f"b{i}") + b"h\x01" for i in range(names)]
    return _archive(b"".join(parts) + b"u.", {"0": bytes(rows * rows * width)})


def _dictionaries(pairs: int, calls: int) -> bytes:
    """Return a checkpoint that makes an ordered dict of one list again and again."""
    listed = b"](" + b"".join(b"J" + struct.pack("<I", i) + b"N\x86" for i in range(pairs)) + b"e"
    again = b"h\x00h\x01\x85R" * calls
    return _archive(b"\x80\x02ccollections\nOrderedDict\nq\x00" + listed + b"q\x01" + again + b".", {})


def _facts(numbers: int, keys: int) -> bytes:
    """Return a checkpoint whose meta names one long tuple under many keys."""
    pairs = b"".join(_text(f"k{i}") + b"h\x01" for i in range(keys))
    long = b"(" + b"K\x01" * numbers + b"tq\x010"
    return _archive(b"\x80\x02" + long + b"}" + _text("meta") + b"}(" + pairs + b"us.", {})


# ------------------------------------------------------------------------------------ images


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: int = 0, before: bytes = b"") -> bytes:
    """Return a PNG of a size whose first rows alone are there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(3 * width + 1) * rows)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + before + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


def _encoded(format: str, size: tuple[int, int], mode: str = "L", **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    try:
        Image.new(mode, size, 100).save(buffer, format, **options)
    except (OSError, KeyError):  # this Pillow does not write it
        return b"not written here"
    return buffer.getvalue()


def _patched(
    content: bytes, old: tuple[int, int], new: tuple[int, int], word: str, last: bool = False
) -> bytes:
    """Return a file with another size where it states its own, the first or the last time."""
    before = struct.pack(f"{word[0]}2{word[1]}", *old)
    at = content.rfind(before) if last else content.find(before)
    return (
        content
        if at < 0
        else content[:at] + struct.pack(f"{word[0]}2{word[1]}", *new) + content[at + len(before) :]
    )


def _scans(times: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated many times; each scan covers all pixels."""
    content = _encoded("JPEG", (4400, 4400), progressive=True)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * times + b"\xff\xd9"


_HUGE = 100_000, 100_000
_CAMERA = 16_384, 12_288
"""The largest size for which that of the file does not count."""


def _frames(count: int) -> bytes:
    content = _encoded("GIF", (2000, 2000))
    frame = content[content.index(b"\x2c") : -1]
    return content[:-1] + frame * count + b";"


def weights(values: dict[str, Any]) -> bytes:
    """Return a weights file without tensors whose header has these values."""
    document = {"format": 1, "size": "nano", "classes": ["a"], "input_size": [320, 320], **values}
    metadata = {"__metadata__": {"aerostat": json.dumps(document) if values else "{}"}}
    return parsers.safetensors_file(json.dumps(metadata).encode(), b"")


def _tensors(count: int) -> bytes:
    metadata = {"aerostat": json.dumps({"format": 1, "size": "nano", "classes": ["a"]})}
    empty = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
    return parsers.safetensors_file(json.dumps({"__metadata__": metadata, **empty}).encode(), b"")


def state_of_tree(items: str) -> bytes:
    """Return a file of training state whose tree has these items."""
    document = f'{{"format":1,"tree":[{items.rstrip(",")}]}}'
    return parsers.safetensors_file(json.dumps({"__metadata__": {"aerostat-state": document}}).encode(), b"")


def state_file(places: int) -> bytes:
    """Return a file of training state with an array at many places."""
    node = '{"$":"array","at":"t0","dtype":"|u1","shape":[1000000]}'
    document = f'{{"format":1,"tree":[{",".join([node] * places)}]}}'
    tensor = {"dtype": "U8", "shape": [1_000_000], "data_offsets": [0, 1_000_000]}
    header = json.dumps({"__metadata__": {"aerostat-state": document}, "t0": tensor}).encode()
    return parsers.safetensors_file(header, bytes(1_000_000))


def tiff(size: tuple[int, int]) -> bytes:
    """Return a TIFF of an image that is one strip of nothing."""
    tags = {256: size[0], 257: size[1], 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: size[1], 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


# ------------------------------------------------------------------------------------ all

BOMBS = dict(
    _bomb(name, make)
    for name, make in (
        ("via/two million empty regions", lambda: _via(_many("{}", 2_000_000))),
        ("via/two million regions of nothing", lambda: _via(_many("null", 2_000_000))),
        (
            "via/100,000 empty entries",
            lambda: (
                "{" + ",".join(f'"{i}":{{"filename":"{i}","regions":[]}}' for i in range(100_000)) + "}"
            ).encode(),
        ),
        ("via/50,000 classes", lambda: _via(_classes(50_000))),
        ("via/a class of 5 MB", lambda: _via("[" + _region("{}", '"class":"' + "x" * 5_000_000 + '"') + "]")),
        (
            "via/outlines that meet everywhere",
            lambda: _via("[" + ",".join([_zigzag_region(5_000)] * 60) + "]"),
        ),
        ("via/an outline of 200,000 points", lambda: _via("[" + _zigzag_region(200_000) + "]")),
        (
            "via/200,000 region attributes",
            lambda: _via("[" + _region("{}", ",".join(f'"{i}":1' for i in range(200_000))) + "]"),
        ),
        ("via/nested", lambda: _via("[" * 2_000_000)),
        ("via-csv/100,000 rows", lambda: (CSV + ROW * 30_000).encode()),
        (
            "via-csv/a cell of 5 MB",
            lambda: (CSV + 'a.png,1,{},1,0,"' + "[" * 5_000_000 + '",{}\n').encode(),
        ),
        ("via-csv/a million lines of nothing", lambda: (CSV + "\n" * 3_000_000).encode()),
        (
            "via-csv/a million columns",
            lambda: (CSV.strip() + "," * 1_000_000 + "\n" + "," * 1_000_006 + "\n").encode(),
        ),
        ("coco/two million empty annotations", lambda: coco(annotations=_many("{}", 2_000_000))),
        ("coco/two million numbers for annotations", lambda: coco(annotations=_many("1", 2_000_000))),
        ("coco/a million empty categories", lambda: coco(categories=_many("{}", 1_000_000))),
        (
            "coco/100,000 images that are missing",
            lambda: coco("[" + ",".join(f'{{"id":{i},"file_name":"{i}"}}' for i in range(100_000)) + "]"),
        ),
        (
            "coco/100,000 folders",
            lambda: coco("[" + ",".join(f'{{"id":{i},"file_name":"{i}/a"}}' for i in range(100_000)) + "]"),
        ),
        (
            "coco/100,000 categories",
            lambda: coco(
                categories="[" + ",".join(f'{{"id":{i},"name":"{i}"}}' for i in range(100_000)) + "]"
            ),
        ),
        (
            "coco/100,000 strays",
            lambda: coco(annotations=_many('{"image_id":9,"category_id":1}', 100_000)),
        ),
        (
            "coco/a mask of one endless number",
            lambda: coco(annotations="[" + rle('"' + "o" * 2_000_000 + '"') + "]"),
        ),
        (
            "coco/a mask of a million runs",
            lambda: coco(annotations="[" + rle(_many("9", 1_000_000)) + "]"),
        ),
        (
            "coco/a mask of huge runs",
            lambda: coco(annotations="[" + rle(_many("1" + "0" * 4000, 500)) + "]"),
        ),
        (
            "coco/outlines that meet everywhere",
            lambda: coco(annotations="[" + ",".join([_zigzag_annotation(5_000)] * 60) + "]"),
        ),
        (
            "coco/an outline of 500,000 points",
            lambda: coco(annotations="[" + _zigzag_annotation(500_000) + "]"),
        ),
        (
            "coco/an outline whose edges cross every row",
            lambda: coco(annotations="[" + _upright_zigzag_annotation(300_000) + "]"),
        ),
        (
            "coco/an object of 100,000 outlines",
            lambda: coco(annotations="[" + _specks_annotation(100_000) + "]"),
        ),
        (
            "coco/a million outlines",
            lambda: coco(annotations="[" + _annotation(_many("[]", 1_000_000)) + "]"),
        ),
        ("coco/200,000 broken outlines", lambda: coco(annotations=_many(_annotation("[[1]]"), 50_000))),
        ("coco/nested", lambda: coco(annotations="[" * 3_000_000)),
        ("recipe/a key of many parts", lambda: (".".join(["a"] * 50_000) + "=1").encode()),
        (
            "recipe/many keys of many parts",
            lambda: "\n".join(f"x{i}." + ".".join(["a"] * 190) + "=1" for i in range(600)).encode(),
        ),
        ("recipe/nested", lambda: b"x = " + b"[" * 100_000),
        ("recipe/a long number", lambda: b"[optim]\nlr = " + b"9" * 200_000),
        ("recipe/100 MB", lambda: b"#" * 100_000_000),
        ("config/nested", lambda: b"x = " + b"[" * 400_000),
        ("config/a sum of 100,000", lambda: b"x = " + b"1+" * 100_000 + b"1"),
        ("config/100,000 signs", lambda: b"x = " + b"-" * 100_000 + b"1"),
        ("config/a list of 190,000", lambda: b"x = [" + b"1," * 190_000 + b"]"),
        ("config/2 MB", lambda: b"x = [" + b"1," * 1_000_000 + b"]"),
        ("config/50,000 variables", lambda: b"".join(b"a%d=1\n" % i for i in range(50_000))),
        ("config/lists that double", lambda: b"x = [1]\n" + b"x = [x, x]\n" * 60 + b"y = str(x)"),
        ("config/texts that double", lambda: b"x = 'abcdefgh'\n" + b"x = x + x\n" * 60),
        ("config/loops in loops", lambda: b"x = [1 for a in range(9999) for b in range(9999)]"),
        (
            "config/many copies of the base",
            lambda: parsers.PARSERS["config"].seeds()[0] + b"y = {{_base_.model}}\n" * 20_000,
        ),
        (
            "weights/500,000 classes",
            lambda: weights({"classes": [str(i) for i in range(500_000)]}),
        ),
        (
            "weights/twice the same among 300,000 classes",
            lambda: weights({"classes": [*map(str, range(300_000)), "299999"]}),
        ),
        ("weights/nested", lambda: weights({}).replace(b'"{}"', b'"' + b"[" * 3_000_000 + b'"')),
        ("weights/100,000 empty tensors", lambda: _tensors(100_000)),
        (
            "weights/a tensor of 2^62",
            lambda: parsers.safetensors_file(
                b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}', b""
            ),
        ),
        ("weights/a header of 2^60", lambda: struct.pack("<Q", 1 << 60) + b"{}"),
        ("state/one tensor in 20,000 places", lambda: state_file(20_000)),
        ("state/two million empty tuples", lambda: state_of_tree('{"$":"tuple","items":[]},' * 300_000)),
        ("pth/one list as a thousand dictionaries", lambda: _dictionaries(50_000, 50_000)),
        ("pth/one storage as a thousand tensors", lambda: _shared_storage(5_000, 512, b"Float", 4)),
        ("pth/one half storage as a thousand tensors", lambda: _shared_storage(5_000, 512, b"Half", 2)),
        ("pth/one tuple as a thousand facts", lambda: _facts(500_000, 50_000)),
        ("pth/five million dictionaries", lambda: _archive(b"\x80\x02" + b"}" * 5_000_000 + b".", {})),
        ("pth/three million memos", lambda: _archive(b"\x80\x04N" + b"\x94" * 3_000_000 + b".", {})),
        ("pth/five million marks", lambda: _archive(b"\x80\x02" + b"(" * 5_000_000 + b"N.", {})),
        ("pth/a million copies", lambda: _archive(b"\x80\x02](K\x01" + b"2" * 3_500_000 + b"e.", {})),
        ("pth/a zip bomb", lambda: _archive(b"\x80\x02}.", {"0": bytes(60_000_000)}, zipfile.ZIP_DEFLATED)),
        (
            "pth/a zip bomb of pickles",
            lambda: _archive(b"\x80\x02" + b"N" * 200_000_000 + b".", {}, zipfile.ZIP_DEFLATED),
        ),
        ("pth/60,000 entries", lambda: _archive(b"\x80\x02}.", {str(i): b"" for i in range(60_000)})),
        ("onnx/two million fields", lambda: b"\x3a\x00" * 2_000_000),
        (
            "onnx/300,000 entries",
            lambda: parsers.proto(14, parsers.proto(1, b"a")) * 300_000,
        ),
        ("onnx/nested", lambda: parsers.onnx(b"[" * 3_000_000)),
        (
            "onnx/a million classes",
            lambda: parsers.onnx(json.dumps({**parsers.ENTRY, "classes": ["a"] * 1_000_000}).encode()),
        ),
        ("image/a PNG of 100,000 x 100,000", lambda: png(*_HUGE)),
        ("image/a PNG of 33,000 x 1,000 rows of nothing", lambda: png(33_000, 1_000, 1_000)),
        ("image/a PNG of 5,400 x 5,400", lambda: png(5_400, 5_400, 5_400)),
        (
            "image/a PNG with texts",
            lambda: png(
                64,
                48,
                48,
                b"".join(_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000))) for _ in range(20)),
            ),
        ),
        (
            "image/a PNG with a profile",
            lambda: png(64, 48, 48, _chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(300_000_000)))),
        ),
        (
            "image/a JPEG of 65,500 x 65,500",
            lambda: _patched(_encoded("JPEG", SIZE, "RGB"), SIZE[::-1], (65_500, 65_500), ">H"),
        ),
        (
            "image/a progressive JPEG of 65,500 x 65,500",
            lambda: _patched(
                _encoded("JPEG", SIZE, "RGB", progressive=True), SIZE[::-1], (65_500, 65_500), ">H"
            ),
        ),
        (
            "image/a JPEG of 4,400 x 4,400",
            lambda: _encoded("JPEG", (4_400, 4_400), "RGB", progressive=True, subsampling=0),
        ),
        ("image/a PNG as large as a camera's", lambda: png(*_CAMERA, _CAMERA[1])),
        (
            "image/a progressive JPEG as large as a camera's",
            lambda: _encoded("JPEG", _CAMERA, "RGB", progressive=True, subsampling=0),
        ),
        ("image/a GIF as large as a camera's", lambda: _encoded("GIF", _CAMERA)),
        (
            "image/a WebP of 100 megapixels",
            lambda: _encoded("WEBP", (10_000, 10_000), "RGB", lossless=True, quality=0),
        ),
        (
            "image/a TIFF of 130 megapixels",
            lambda: _encoded("TIFF", (13_000, 9_900), "RGB", compression="tiff_lzw"),
        ),
        ("image/an AVIF of 100 megapixels", lambda: _encoded("AVIF", (10_000, 10_000), speed=10)),
        ("image/a JPEG 2000 of 100 megapixels", lambda: _encoded("JPEG2000", (10_000, 10_000))),
        ("image/a JPEG of 60 scans", lambda: _scans(50)),
        ("image/a JPEG of 20,000 scans", lambda: _scans(20_000)),
        (
            "image/a BMP of 100,000 x 100,000",
            lambda: _patched(_encoded("BMP", SIZE, "RGB"), SIZE, _HUGE, "<I"),
        ),
        (
            "image/a GIF of 65,000 x 65,000",
            lambda: _patched(_encoded("GIF", SIZE), SIZE, (65_000, 65_000), "<H"),
        ),
        (
            "image/a GIF with a frame of 65,000 x 65,000",
            lambda: _patched(_encoded("GIF", SIZE), SIZE, (65_000, 65_000), "<H", True),
        ),
        ("image/a GIF of 500 frames", lambda: _frames(500)),
        ("image/a TIFF of 100,000 x 100,000", lambda: tiff(_HUGE)),
        (
            "image/a WebP of 16,383 x 16,383",
            lambda: _encoded("WEBP", (16_383, 16_383), "RGB", lossless=True, method=0),
        ),
        (
            "image/a JPEG 2000 of 100,000 x 100,000",
            lambda: _patched(
                _patched(_encoded("JPEG2000", SIZE, "RGB"), SIZE[::-1], _HUGE, ">I"), SIZE, _HUGE, ">I", True
            ),
        ),
        (
            "image/a JPEG 2000 whose stream is larger than its box",
            lambda: _patched(_encoded("JPEG2000", SIZE, "RGB"), SIZE, (60_000, 60_000), ">I", True),
        ),
        (
            "image/an AVIF of 20,000 x 20,000",
            lambda: _patched(_encoded("AVIF", SIZE, "RGB"), SIZE, (20_000, 20_000), ">I"),
        ),
        (
            "image/an AVIF whose stream is larger than its box",
            lambda: _patched(_encoded("AVIF", (8_000, 8_000), "RGB", speed=10), (8_000, 8_000), SIZE, ">I"),
        ),
        ("image/a PPM of 100,000 x 100,000", lambda: b"P6\n100000 100000\n255\n" + bytes(100)),
        ("image/a PPM of plain text", lambda: b"P3\n5000 5000\n255\n" + b"1 " * 100_000),
    )
)
"""By name: the parser's, a stroke, and what it is."""
