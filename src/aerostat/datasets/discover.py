"""Finding and reading the splits of a data set, and agreeing on their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from aerostat.datasets import formats
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.classes import agree_on_classes, check_class_names
from aerostat.datasets.crowd import settle_crowd_marks
from aerostat.datasets.formats.format import Format, SplitFiles
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.problems import LOSSES, TYPE_OF_KIND
from aerostat.datasets.records import (
    ImageRecord,
    Images,
    OtherClassesError,
    Problem,
    Split,
    UnstatedClassError,
)
from aerostat.errors import InputError
from aerostat.images.archive import AnyPath
from aerostat.text import counted, listed, shown

NEEDED_SPLITS = ("train", "val")
"""Splits whose data must be readable. Another one that cannot be read is left out beside one of these."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Annotations that cannot be read, or not together with the others, and why in one sentence."""

    split: str
    annotations: AnyPath
    sentence: str


def read_splits(path: AnyPath, options: ReadOptions) -> tuple[dict[str, Split], tuple[Refusal, ...]]:
    """Return the splits of a data set by name, and those that were left out because they cannot be read.

    Raises:
        InputError: nothing usable is at `path`; the sentence names the file and the record.
    """
    check_class_names(options)
    if options.from_format is not None:
        formats.named(options.from_format)  # refuses an unknown one
    splits: list[Split] = []
    left_out: list[Refusal] = []
    found = find_splits(path, options)
    needed = any(files.split in NEEDED_SPLITS for files in found)
    unstated: list[tuple[SplitFiles, UnstatedClassError]] = []
    for files in found:
        try:
            split = read_split(files, options)
            refuse_unusable(split, files, options.strict)
            splits.append(split)
        except UnstatedClassError as error:
            unstated.append((files, error))
        except OtherClassesError:
            raise
        except InputError as error:
            if not needed or files.split in NEEDED_SPLITS or options.strict:
                raise
            left_out.append(Refusal(files.split, files.annotations, str(error)))
    splits += [_with_class_of_others(files, options, splits, error) for files, error in unstated]
    order = {files.split: place for place, files in enumerate(found)}
    splits.sort(key=lambda split: order[split.name])
    settled = settle_crowd_marks(splits, options.crowd)
    try:
        return agree_on_classes(settled, options), tuple(left_out)
    except InputError as error:
        kept = [split for split in settled if split.name in NEEDED_SPLITS]
        if options.strict or not kept or len(kept) == len(settled):
            raise
        others = [files for files in found if files.split not in NEEDED_SPLITS]
        left_out += [Refusal(files.split, files.annotations, str(error)) for files in others]
        return agree_on_classes(kept, options), tuple(left_out)


def _with_class_of_others(
    files: SplitFiles, options: ReadOptions, others: Sequence[Split], error: UnstatedClassError
) -> Split:
    """Return a split whose annotations state no class, with the one class of the other splits.

    Raises:
        UnstatedClassError: the other splits have not exactly one class, or there are none.
    """
    classes = {name for split in others for name in split.classes}
    if len(classes) != 1:
        raise error
    (name,) = classes
    again = replace(files, texts=tuple(AnnotationText(text.path) for text in files.texts))
    split = read_split(again, replace(options, classes=(name,), class_attribute=None))
    refuse_unusable(split, again, options.strict)
    detail = f"states no class for its objects; they are taken for {name!r}, the only class of the others"
    found = Problem(files.split, files.annotations.name, "class not stated", detail, "class")
    return replace(split, problems=(*split.problems, found))


def read_split(files: SplitFiles, options: ReadOptions) -> Split:
    """Return one split, read in the format that its annotations have.

    Raises:
        InputError: they are of no known format, of another than was asked for, or broken; or several files
            contradict each other.
    """
    if files.format:
        return _checked(formats.named(files.format), files, options).read(files, options)
    if len(files.texts) == 1:
        return _checked(formats.recognise(files.texts[0]), files, options).read(files, options)
    by_format = _recognised(files, options)
    if len(by_format) == 1 and (only := next(iter(by_format))).per_image:
        return only.read(by_format[only], options)
    parts = [single for format_, part in by_format.items() for single in _single(format_, part)]
    return _joined(files, parts, options)


def _checked(found: Format, files: SplitFiles, options: ReadOptions) -> Format:
    if options.from_format not in (None, found.name):
        raise InputError(
            f"Expected {options.from_format} annotations, found {found.name} in {files.annotations}."
        )
    return found


def _recognised(files: SplitFiles, options: ReadOptions) -> dict[Format, SplitFiles]:
    """Return the files by their format; those of no format or another than was asked for are left out.

    Raises:
        InputError: none is left, and the sentence is about the first; or a file is broken JSON of a format
            with one file per image, so that its image would be missing.
    """
    texts: dict[Format, list[AnnotationText]] = {}
    first: InputError | None = None
    unknown: list[AnnotationText] = []
    for text in files.texts:
        try:
            found = formats.recognise(text)
        except InputError as error:
            first = first or error
            unknown.append(text)
            continue
        texts.setdefault(found, []).append(text)
        if found.per_image:
            text.release()
    for text in unknown:
        if any(claim.per_image and claim in texts for claim in formats.claimants(text)) and text.is_json():
            text.document()
    if options.from_format is not None:
        asked = formats.named(options.from_format)
        if asked not in texts and texts:
            return {_checked(next(iter(texts)), files, options): files}
        texts = {asked: texts[asked]} if asked in texts else {}
    if not texts:
        raise first or InputError(f"{files.annotations} holds no annotations; expected {formats.expected()}.")
    return {format_: replace(files, texts=tuple(found)) for format_, found in texts.items()}


def _single(format_: Format, files: SplitFiles) -> list[tuple[Format, SplitFiles]]:
    """Return files of a format, each by itself unless the format has one per image."""
    if format_.per_image:
        return [(format_, files)]
    return [
        (format_, replace(files, annotations=text.path, texts=(text,), format=format_.name))
        for text in files.texts
    ]


def _joined(files: SplitFiles, parts: Sequence[tuple[Format, SplitFiles]], options: ReadOptions) -> Split:
    """Return the split that several annotation files describe.

    Files with the same annotations count once, as a tool that exports JSON and CSV writes them. Files of one
    format about different images are joined.

    Raises:
        InputError: the files contradict each other, or one of them is broken.
    """
    try:
        read = [(part, format_.read(part, options)) for format_, part in parts]
    except InputError:
        if len({format_.name for format_, _ in parts}) == 1:
            raise
        raise _ambiguous(files, [part for _, part in parts]) from None
    kept: list[tuple[SplitFiles, Split]] = []
    repeated: list[Problem] = []
    first_with: dict[bytes, SplitFiles] = {}
    for part, split in read:
        twin = first_with.setdefault(_fingerprint(split), part)
        if twin is part:
            kept.append((part, split))
            continue
        detail = f"has the same annotations as {twin.annotations.name}"
        repeated.append(Problem(files.split, part.annotations.name, "same annotations", detail))
    sets = [{row.name for row in split.images.locations} for _, split in kept]
    one_format = len({split.source_format for _, split in kept}) == 1
    if not one_format or sum(map(len, sets)) > len(set().union(*sets)):
        raise _ambiguous(files, [part for part, _ in kept])
    joined = kept[0][1] if len(kept) == 1 else _concatenated([split for _, split in kept], options)
    return replace(joined, problems=(*joined.problems, *repeated))


def _ambiguous(files: SplitFiles, parts: Sequence[SplitFiles]) -> InputError:
    names = listed([part.annotations.name for part in parts], 10)
    return InputError(
        f"{files.annotations} has {len(parts)} annotation files for one split ({names}); name one of them "
        "instead of the folder, one for each split with `splits`, or the format with `from_format`."
    )


def _fingerprint(split: Split) -> bytes:
    """Return a digest of the objects by image, to a thousandth of a pixel; the same if these are the same."""
    rows = ((image.location.name, *sorted(_objects(split, image))) for image in split.images)
    digests = sorted(sha256(ascii(row).encode()).digest() for row in rows)
    return sha256(b"".join(digests)).digest()


def _objects(split: Split, image: ImageRecord) -> list[tuple[str, ...]]:
    return [
        (split.classes[instance.label], *(f"{value:.3f}" for value in instance.box_xyxy))
        for instance in image.instances
    ]


def _concatenated(splits: Sequence[Split], options: ReadOptions) -> Split:
    """Return one split with the images of several of one format, and with the classes of all of them."""
    classes = tuple(options.classes or dict.fromkeys(name for split in splits for name in split.classes))
    if not formats.named(splits[0].source_format).states_classes and options.classes is None:
        classes = tuple(sorted(classes))
    ids = tuple(range(1, len(classes) + 1))
    rows = [row for split in splits for row in split.relabelled(classes, ids).images]
    numbered = [_renumbered(row, number) for number, row in enumerate(rows, start=1)]
    problems = tuple(problem for split in splits for problem in split.problems)
    return replace(
        splits[0], classes=classes, category_ids=ids, images=Images.of(numbered), problems=problems
    )


def _renumbered(row: ImageRecord, number: int) -> ImageRecord:
    return ImageRecord(row.location, row.file_name, row.width, row.height, row.instances, number)


def refuse_unusable(split: Split, files: SplitFiles, strict: bool) -> None:
    """Refuse a split without a usable image and, if `strict`, one that lost an image or an object.

    Raises:
        InputError: naming the first file concerned.
    """
    if not split.images:
        first = next((p for p in split.problems if TYPE_OF_KIND[p.kind].lost == "image"), None)
        if first is None:
            raise InputError(f"{files.annotations} lists no images; expected at least one annotated image.")
        remedy = "; name their folder with `images`" if first.kind == "missing image" else ""
        raise InputError(
            f"None of the images that {files.annotations} lists can be read, first "
            f"{shown(first.file_name)}: {first.detail}{remedy}."
        )
    lost = [problem for problem in split.problems if problem.kind in LOSSES]
    if strict and lost:
        more = f", and {counted(len(lost) - 1, 'more problem')} like this" if len(lost) > 1 else ""
        raise InputError(
            f"{files.annotations} is refused by `strict`: {lost[0].kind}, "
            f"{lost[0].file_name}: {lost[0].detail}{more}."
        )
