"""Options that several verbs share: each has its name, its type and its help text here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aerostat.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aerostat.datasets.origin import ReadOptions
    from aerostat.inference.slices import SliceSide
    from aerostat.inference.tta import TTA
    from aerostat.processes.placement import Placement

# --- forms of options

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Switch = Annotated[bool, Parameter(show_default=False)]
"""A flag that is on by default and has a ``--no-`` form."""
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
"""Takes every word up to the next option."""

# --- single options

JsonFlag = Annotated[
    bool,
    Parameter(name="--json", negative=(), show_default=False, help="Print one JSON document."),
]
Force = Annotated[bool, Parameter(negative=(), show_default=False, help="Replace files that exist.")]
Engine = Annotated[
    Literal["auto", "torch", "onnx", "openvino"],
    Parameter(
        help="What runs the network. auto takes the ONNX file that `export` wrote beside the weights, if "
        "it was made from these very weights; else torch."
    ),
]
_DEVICE = Parameter(
    help="auto, cpu, cuda, cuda:0 (or another number) or mps; the CPU, if that cannot be used here."
)
Device = Annotated[str, _DEVICE]
RecipeDevice = Annotated[str | None, _DEVICE]
_INPUT_SIZE = "Side of the network's square input in pixels, a multiple of 32; by default "
InputSize = Annotated[int | None, Parameter(help=f"{_INPUT_SIZE}the one it was trained at.")]
RecipeInputSize = Annotated[int | None, Parameter(help=f"{_INPUT_SIZE}the recipe's.")]
Model = Annotated[
    str | None,
    Parameter(help="rtmdet-nano, -tiny, -s, -m, -l or -x; by default that of recipe or weights, else -tiny."),
]
StartWeights = Annotated[
    str | None,
    Parameter(
        help="What to start from: a file, a run, or a name of the zoo, which is downloaded if it is not in "
        "the cache."
    ),
]
Assignments = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Any recipe field, as section.key=value; may be repeated."),
]

# --- groups of options


@Parameter(name="*")
@dataclass(frozen=True)
class Read:
    """How annotated images are read.

    Parameters
    ----------
    classes:
        Class names in order, up to the next option. A VIA file without class attributes needs its one name.
    class_attribute:
        VIA region attribute that holds the class, if there are several.
    images:
        Folder or zip archive of the images, if they are not beside their annotations.
    strict:
        Fail if anything is wrong with the data, warnings included.
    from_format:
        Format of the annotations, one that `aerostat convert --help` lists; by default the content tells.
    splits:
        Annotations of each split where the folder does not tell, as train=a.json val=b.json.
    only_classes:
        Classes to keep; objects of the others are left out and counted.
    merge_classes:
        Classes to merge, as NEW=OLD,OLD; may be several words.
    crowd:
        What a crowd mark (iscrowd) means: "region" as in COCO, "object" for tools that mark every mask, or
        "auto".
    """

    classes: Words = None
    class_attribute: str | None = None
    images: Path | None = None
    strict: Flag = False
    from_format: Annotated[str | None, Parameter(name="--from")] = None
    splits: Words = None
    only_classes: Words = None
    merge_classes: Words = None
    crowd: Literal["auto", "region", "object"] = "auto"

    def chosen(self, **changes: Any) -> ReadOptions:
        """Return the options as the library takes them; `changes` beat what was typed."""
        from aerostat.datasets.origin import ReadOptions

        splits = assigned(self.splits, "--splits", "train=a.json")
        merged = assigned(self.merge_classes, "--merge-classes", "helmet=Helmet,HELMET")
        typed = ReadOptions(
            classes=split_names(self.classes),
            class_attribute=self.class_attribute,
            images=self.images,
            strict=self.strict,
            from_format=self.from_format,
            splits=splits,
            only_classes=split_names(self.only_classes),
            merge_classes=merged and {new: old.split(",") for new, old in merged.items()},
            crowd=self.crowd,
        )
        return dataclasses.replace(typed, **changes)


@Parameter(name="*")
@dataclass(frozen=True)
class Tta:
    """Views of each photograph, and how their detections are merged.

    Parameters
    ----------
    tta:
        Test-time augmentation: look at each photograph at several scales and mirrored, and merge the
        detections.
    scales:
        Scales for --tta. Whole numbers are pixels of the square input (640,320,960). Numbers with a point or
        an x are relative to the model's own test size (1x,0.5x,2x, the default). "published" are the authors'
        1x,0.5x,1.5x, merged by nms.
    flip:
        Also look at each scale mirrored, which is the default with --tta, or do not.
    merge:
        How --tta merges: wbf, the default, is weighted box fusion; nms keeps the best of overlapping boxes.
    merge_iou:
        Overlap above which --tta merges boxes of a class; by default the NMS IoU.
    """

    tta: Flag = False
    scales: Words = None
    flip: Annotated[bool | None, Parameter(show_default=False)] = None
    merge: Literal["nms", "wbf"] | None = None
    merge_iou: float | None = None

    def chosen(self) -> TTA | None:
        """Return the augmentation that was asked for, or None.

        Raises:
            InputError: a scale cannot be used, or an option has nothing to act on.
        """
        if not self.tta:
            given = given_options(self)
            if given:
                them = "it" if len(given) == 1 else "them"
                raise InputError(f"{', '.join(given)} would do nothing; add --tta, or leave {them} out.")
            return None
        from aerostat.inference.tta import PUBLISHED_SCALES, TTA, parse_scales

        asked: dict[str, Any] = {"flip": self.flip, "merge": self.merge, "merge_iou": self.merge_iou}
        if self.scales is not None:
            asked["scales"] = parse_scales(self.scales)
            if self.merge is None and asked["scales"] == PUBLISHED_SCALES:
                asked["merge"] = "nms"
        return TTA(**{name: value for name, value in asked.items() if value is not None})


@Parameter(name="*")
@dataclass(frozen=True)
class Slicing:
    """Windows of large photographs.

    Parameters
    ----------
    slices:
        Side in pixels of overlapping windows that a large photograph is looked at by, in addition to the
        whole; "off" for the whole only. "auto" takes windows of the input's size if the photograph is more
        than four times as large and the training objects would shrink below 16 px.
    overlap:
        Share of a window's side that neighbours have in common, from 0 to 0.9; 0.2 by default.
    """

    slices: Annotated[str, Parameter(show_default=True)] = "auto"
    overlap: Annotated[float | None, Parameter(show_default=False)] = None

    def chosen(self) -> tuple[SliceSide, float]:
        """Return `slices` and `overlap` as the library takes them.

        Raises:
            InputError: a value is out of range, or an option has nothing to act on.
        """
        from aerostat.inference.slices import OVERLAP, plan_slices

        if self.overlap is not None and self.slices == "off":
            raise InputError("--overlap would do nothing with --slices off; leave it out.")
        slices: Any = int(self.slices) if self.slices.isascii() and self.slices.isdecimal() else self.slices
        overlap = OVERLAP if self.overlap is None else self.overlap
        plan_slices(slices, overlap, (1, 1), None)
        return slices, overlap


@Parameter(name="*")
@dataclass(frozen=True)
class Predict:
    """Which detections are kept.

    Parameters
    ----------
    score:
        Keep detections above this score.
    nms_iou:
        Overlap above which the weaker of two detections of a class is dropped; 0.6 for models with masks.
    """

    score: float = 0.3
    nms_iou: Annotated[float | None, Parameter(show_default=lambda _: "0.65")] = None

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            InputError: naming both.
        """
        if not 0 <= self.score < 1 or not (self.nms_iou is None or 0 < self.nms_iou <= 1):
            raise InputError(
                f"Expected a score in [0, 1) and an NMS IoU in (0, 1], found {self.score} and {self.nms_iou}."
            )


@Parameter(name="*")
@dataclass(frozen=True)
class Masks:
    """Masks of detections, for models that have them.

    Parameters
    ----------
    masks:
        Draw masks, which is the default for models that have them, or boxes alone.
    mask_threshold:
        A pixel belongs to a mask above this probability.
    """

    masks: Annotated[bool | None, Parameter(show_default=False)] = None
    mask_threshold: float = 0.5


@Parameter(name="*")
@dataclass(frozen=True)
class MaskFiles:
    """How masks are written, for models that have them.

    Parameters
    ----------
    mask_format:
        How --format coco states masks: rle (run lengths) or polygons. Both are exact.
    pixel_size:
        Side of a pixel, such as 0.35um. --format csv then states the measures of masks in this unit, too.
    label_maps:
        Also write label-maps/NAME.png: 16 bits a pixel, the number of its detection from 1, 0 elsewhere.
    cut_outs:
        Also write cut-outs/NAME/0001.png and so on: each detection alone, the rest transparent.
    """

    mask_format: Annotated[Literal["rle", "polygons"], Parameter(show_default=True)] = "rle"
    pixel_size: str | None = None
    label_maps: Flag = False
    cut_outs: Flag = False

    def check(self, formats: Sequence[str]) -> None:
        """Refuse options that would be ignored.

        Raises:
            InputError: naming the option and the format that it is for.
        """
        if self.mask_format != "rle" and "coco" not in formats:
            raise InputError(f"--mask-format {self.mask_format} is for --format coco, which was not given.")
        if self.pixel_size is not None and "csv" not in formats:
            raise InputError(f"--pixel-size {self.pixel_size} is for --format csv, which was not given.")


@Parameter(name="*")
@dataclass(frozen=True)
class Recipe:
    """What is trained, and from where."""

    model: Model = None
    weights: StartWeights = None
    recipe: Annotated[
        str,
        Parameter(
            help='"auto" (chosen by the size of the data), "small", "published", a TOML file, or the .py '
            "config of an RTMDet of MMDetection or MMYOLO."
        ),
    ] = "auto"
    input_size: RecipeInputSize = None
    seed: Annotated[
        int | None, Parameter(help="Seed of weights, order and augmentation; by default the recipe's.")
    ] = None
    set_: Assignments = None


@Parameter(name="*")
@dataclass(frozen=True)
class Fields:
    """Fields of the recipe that have an option of their own.

    Parameters
    ----------
    epochs:
        Passes over the training images; warm-up, stage 2 and averaging follow.
    batch_size:
        Images per iteration.
    lr:
        Learning rate after warm-up.
    precision:
        Precision of the forward pass; losses are always float32.
    freeze_backbone:
        Leave the backbone as it is.
    masks:
        Also train instance masks, which needs outlines, or boxes alone; by default what the weights have.
    slices:
        Train and validate on windows of this many pixels, for photographs much larger than the input.
    overlap:
        Share of a window's side that neighbours have in common; by default 0.2.
    """

    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    device: RecipeDevice = None
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = None
    freeze_backbone: Flag = False
    masks: Annotated[bool | None, Parameter(show_default=False)] = None
    slices: Annotated[int | None, Parameter(show_default=False)] = None
    overlap: Annotated[float | None, Parameter(show_default=False)] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Several:
    """Processes that work together.

    Parameters
    ----------
    devices:
        GPUs or, on the CPU, processes of each machine; docs/many-machines.md. By default one.
    nodes:
        Machines that work together; each runs this command.
    """

    devices: Annotated[int | None, Parameter(show_default=False)] = None
    nodes: Annotated[int, Parameter(show_default=False)] = 1

    def chosen(self) -> Placement:
        """Return what was asked for.

        Raises:
            InputError: a number is below 1.
        """
        from aerostat.processes.placement import Placement

        return Placement(1 if self.devices is None else self.devices, self.nodes)


SEVERAL = Several()
READ, PREDICT, ONE_VIEW, RECIPE, FIELDS = Read(), Predict(), Tta(), Recipe(), Fields()
MASK_FILES = MaskFiles()
MASKS = Masks()
WINDOWS = Slicing()
"""Nothing asked for."""


def split_names(classes: list[str] | None) -> list[str] | None:
    """Return class names; one text with commas is several names."""
    if classes is not None and len(classes) == 1:
        return [name.strip() for name in classes[0].split(",") if name.strip()]
    return classes


def assigned(words: list[str] | None, option: str, example: str) -> dict[str, str] | None:
    """Return words such as ``name=value`` as a mapping; None if there are none.

    Raises:
        InputError: a word has no name, no value, or the name of another.
    """
    if words is None:
        return None
    pairs: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name or not value or name in pairs:
            twice = ", which is there twice" if name in pairs else ""
            raise InputError(f"Expected {option} as {example}, found {word!r}{twice}.")
        pairs[name] = value
    return pairs


def given_options(group: Any) -> dict[str, Any]:
    """Return the values of a group that differ from their defaults, by the option as it is typed."""
    given = {}
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if value != field.default:
            no = "no-" if value is False else ""
            given[f"--{no}{field.name.rstrip('_').replace('_', '-')}"] = value
    return given
