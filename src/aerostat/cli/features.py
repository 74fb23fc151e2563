"""The verb `features`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import Device, Flag, InputSize, JsonFlag, Words
from aerostat.cli.refusals import refuse
from aerostat.errors import InputError
from aerostat.text import counted

_log = logging.getLogger(__name__)


@app.command(sort_key=7, usage="Usage: aerostat features WEIGHTS IMAGE [OPTIONS]")
def features(
    weights: str,
    image: Path | None = None,
    /,
    *,
    layers: Words = None,
    reduce: Literal["squeeze_mean", "select_max", "pca"] | None = None,
    topk: int | None = None,
    arrange: Annotated[tuple[int, int] | None, Parameter(negative=())] = None,
    out: Path = Path("features"),
    detections: Flag = False,
    score: float | None = None,
    save: Literal["npz"] | None = None,
    input_size: InputSize = None,
    device: Device = "auto",
    json_: JsonFlag = False,
) -> None:
    """Draw the feature maps of a network over a photograph.

    Writes a picture of each layer and level, and one sheet of all.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    image:
        Photograph to look at; not needed for --layers list.
    layers:
        Names such as backbone.stage4 or neck.out_convs[2]; by default backbone neck. The one word list prints
        the tree of all layers.
    reduce:
        How channels become one map: their mean (squeeze_mean, the default), the channel with the largest sum
        of activations (select_max), or their first principal component (pca).
    topk:
        Show this many channels, those with the largest sums, instead of one map.
    arrange:
        Rows and columns for --topk; by default nearly square.
    out:
        Folder for the pictures; those of the same photograph and layers are replaced.
    detections:
        Draw the detections over the maps.
    score:
        Draw detections above this score; 0.3 by default.
    save:
        Also write the layers' outputs as NumPy arrays.
    """
    from aerostat.explanation.features import DEFAULT_LAYERS, check_request, feature_maps
    from aerostat.explanation.named_layers import describe_layers, layer_tree
    from aerostat.files import require_folder
    from aerostat.images.read import read_size
    from aerostat.inference.options import SHOW_SCORE
    from aerostat.inference.resolve import load

    if layers == ["list"]:
        net = load(weights, device="cpu", input_size=input_size).net
        described = [layer.to_dict() for layer in describe_layers(net)] if json_ else []
        print(document({"layers": described}) if json_ else layer_tree(net))
        return
    if image is None:
        raise InputError("IMAGE is missing; only --layers list needs none. See aerostat features --help.")
    if topk is not None:
        refuse({"--reduce": reduce}, "would change nothing beside --topk")
    if not detections:
        refuse({"--score": score}, "would change nothing without --detections")
    if score is not None and not 0 <= score < 1:
        raise InputError(f"Expected a score in [0, 1), found {score}.")
    check_request(reduce or "squeeze_mean", topk, arrange)
    require_folder(out)
    read_size(image)  # before weights are read or fetched
    maps = feature_maps(
        load(weights, device=device, input_size=input_size),
        image,
        layers or DEFAULT_LAYERS,
        reduce=reduce or "squeeze_mean",
        topk=topk,
        arrange=arrange,
        detections=detections,
        score=SHOW_SCORE if score is None else score,
    )
    for remark in maps.remarks():
        _log.info(remark)
    files = maps.save(out, arrays=save is not None)
    if json_:
        print(document({**maps.to_dict(), "files": [str(path) for path in files]}))
        return
    console.tell(*maps.lines(), f"wrote {counted(len(maps), 'picture')} to {out}")
    for path in files[len(maps) :]:
        console.tell(f"wrote {path}")
