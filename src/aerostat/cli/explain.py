"""The verb `explain`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.along import ALONG, Along, explain_along
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import Device, Flag, InputSize, JsonFlag
from aerostat.cli.refusals import refuse
from aerostat.errors import InputError
from aerostat.text import counted

if TYPE_CHECKING:
    from aerostat.explanation.faithfulness import Faithfulness

_log = logging.getLogger(__name__)

Names = list[str] | None


@app.command(sort_key=8, usage="Usage: aerostat explain WEIGHTS IMAGE [OPTIONS]")
def explain(
    weights: str,
    image: Path,
    /,
    *,
    layers: Annotated[Names, Parameter(("--layers", "--layer"), consume_multiple=True, negative=())] = None,
    method: Annotated[Names, Parameter(("--method", "--methods"), consume_multiple=True, negative=())] = None,
    target: Literal["score", "loss"] = "score",
    per: Literal["detection", "class", "all"] = "detection",
    top: int = 10,
    score: float = 0.3,
    box: str | None = None,
    masks: int | None = None,
    norm_in_box: Flag = False,
    fuse: Flag = False,
    out: Path = Path("explanations"),
    save: Literal["npz"] | None = None,
    faithfulness: Flag = False,
    along: Along = ALONG,
    input_size: InputSize = None,
    device: Device = "auto",
    json_: JsonFlag = False,
) -> None:
    """Show which part of a photograph a detection rests on.

    Writes a picture for each detection: a heat map over the photograph.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo; an exported model can be explained by drise.
    image:
        Photograph to look at; a clip with --track.
    layers:
        One or several, such as neck.out_convs[2], backbone.stage4, or neck for its three levels; by default
        the last layer before the head, at the level that the detection comes from.
    method:
        One or several of layercam (the default), hirescam, gradcam (the default for the target loss),
        gradcampp, eigengradcam, eigencam, ablationcam and drise. Several methods or layers make one sheet.
    target:
        What is explained: the score of the detection and of the candidates that agree with it, or (loss)
        the negative box loss of the detections against themselves, as in published pictures of Box AM.
    per:
        One picture for each detection, for each class, or for all detections together.
    top:
        Number of detections to explain, the best first.
    score:
        Explain detections above this score.
    box:
        A place x1,y1,x2,y2 in pixels of the photograph. The best candidate there is explained, however low
        its score: why is there no detection here?
    masks:
        Number of masked photographs that drise predicts on; 1000 by default.
    norm_in_box:
        Show heat only within the box, scaled to its maximum there.
    fuse:
        Merge the layers of --layers into one map.
    out:
        Folder for the pictures; those of the same photograph are replaced.
    save:
        Also write the maps as NumPy arrays.
    faithfulness:
        Measure whether the maps are true: how the score changes when the hottest pixels are removed or added,
        compared with maps made without the network, and whether random weights change the map.
    """
    from aerostat.explanation.any_detector import black_box_of, explain_black_box
    from aerostat.explanation.boxam import SEVERAL_LEVELS
    from aerostat.explanation.boxam import explain as explain_detections
    from aerostat.explanation.drise import DEFAULT_MASKS
    from aerostat.explanation.faithfulness import faithfulness_of_all
    from aerostat.explanation.faithfulness_summary import LEGEND, save_curves
    from aerostat.explanation.options import ExplainOptions, find_methods
    from aerostat.files import require_folder
    from aerostat.images.read import read_size
    from aerostat.inference.backends.exported import SUFFIXES
    from aerostat.inference.resolve import load

    box_xyxy = None if box is None else _parse_box(box)
    exported = Path(weights).suffix.lower() in SUFFIXES
    if exported and not method:
        method = ["drise"]
    asked = DEFAULT_MASKS if masks is None else masks
    ExplainOptions(target=target, per=per, top=top, score=score, box_xyxy=box_xyxy, masks=asked)
    methods = find_methods(method or None, target)
    if faithfulness and per != "detection":
        raise InputError(
            f"Expected --per detection beside --faithfulness, which is of single detections, found {per}."
        )
    if masks is not None and "drise" not in methods:
        refuse({"--masks": masks}, "is for --method drise")
    if box is not None:
        refuse({"--per": None if per == "detection" else per}, "would change nothing beside --box")
    if fuse and (not layers or (len(layers) == 1 and layers[0] not in SEVERAL_LEVELS)):
        refuse({"--fuse": fuse}, "joins several layers, which --layers has to name")
    inside = [name for name in methods if name != "drise"]
    if exported and inside:
        raise InputError(
            f"{weights} is an exported model, which cannot be looked into as {', '.join(inside)} must; "
            "explain the weights it was exported from, or take --method drise."
        )
    if exported:
        given = {"--layers": layers, "--fuse": fuse, "--faithfulness": faithfulness, "--box": box}
        given |= {"--target": target == "loss", "--per": per != "detection"}
        refuse(given, "looks into the network, which an exported model does not allow")
    if along.track:
        given = {"--box": box, "--per": per != "detection", "--target": target == "loss", "--save": save}
        given |= {"--norm-in-box": norm_in_box, "--fuse": fuse}
        refuse(given, "is for photographs")
        if exported or len(methods) > 1:
            found = "an exported model" if exported else f"{len(methods)} methods"
            raise InputError(f"Expected weights and one --method beside --track, found {found}.")
        options = along.options(faithfulness, top=top, method=methods[0], layer=layers, masks=asked)
        explain_along(
            lambda: load(weights, device=device, input_size=input_size),
            image,
            out,
            along,
            options,
            score=score,
            as_json=json_,
        )
        return
    along.refuse_without_track()
    require_folder(out)
    read_size(image)  # before weights are read or fetched
    detector = load(weights, device=device, input_size=input_size)
    if exported:
        size, seen = detector.input_size, black_box_of(detector)
        made = explain_black_box(seen, image, input_size=size, score=score, top=top, masks=asked)
    else:
        made = explain_detections(
            detector,
            image,
            layer=layers,
            method=methods,
            target=target,
            per=per,
            top=top,
            score=score,
            box_xyxy=box_xyxy,
            fuse=fuse,
            masks=asked,
        )
    measured = faithfulness_of_all(detector, image, made) if faithfulness else []
    pictures, arrays = made.save_all(out, norm_in_box=norm_in_box, arrays=save is not None)
    each = len(made) // len(pictures)  # as many methods and layers for every detection
    groups = [measured[start : start + each] for start in range(0, len(measured), each)]
    curves = [
        save_curves(picture.with_name(f"{picture.stem}-curves.png"), group)
        for picture, group in zip(pictures, groups, strict=False)
    ]
    files = [*pictures, *curves, *([arrays] if arrays else [])]
    if json_:
        content = made.to_dict()
        for item, one in zip(content["explanations"], measured, strict=False):
            item["faithfulness"] = one.to_dict()
        print(document({**content, "files": [str(path) for path in files]}))
        return
    for number, (line, picture) in enumerate(zip(made.lines(), pictures, strict=True)):
        console.tell(f"{line} -> {picture}")
        if faithfulness:
            print(_faithfulness_text(groups[number], curves[number]))
    if faithfulness:
        _log.info(LEGEND)
    if box is None and per == "detection" and len(made.detections) > len(pictures):
        _log.info(f"the best {top} of {len(made.detections)} detections are explained; see --top, --per all")
    console.tell(f"wrote {counted(len(pictures), 'picture')} to {out}")
    if arrays:
        console.tell(f"wrote {arrays}")


def _faithfulness_text(measured: Sequence[Faithfulness], curves: Path) -> str:
    from aerostat.evaluation.table import text_table
    from aerostat.explanation.faithfulness_summary import HEADER, summary_line, table_rows

    table = text_table(HEADER, table_rows(measured), width=78)
    lines = [*table.splitlines(), *map(summary_line, measured)]
    return "\n".join(f"  {line}" for line in [*lines, f"curves -> {curves}"]) + "\n"


def _parse_box(text: str) -> list[float]:
    parts = text.replace(",", " ").split()
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise InputError(
            f"Expected --box as x1,y1,x2,y2 in pixels of the photograph, found {text!r}."
        ) from None
