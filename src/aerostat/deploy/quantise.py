"""INT8: the dense convolutions of an exported network in whole numbers, calibrated on photographs.

This is static quantisation (Jacob et al., arXiv:1712.05877). Weights have one scale per output channel, input
maps one scale and zero point. They are written as QuantizeLinear and DequantizeLinear around the convolution,
which a runtime turns into integer arithmetic or computes as they stand. `benchmarks/int8.md` has the
measurements and the alternatives that were dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aerostat.errors import AerostatError, InputError
from aerostat.inference.backends.exported import KEY, Exported
from aerostat.text import counted

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

EXACT = ("backbone.stem.", "backbone.stage1.")
"""Modules whose convolutions stay float32: half of INT8's error came from them (benchmarks/int8.md)."""
LEVELS = 255
"""Steps between the lowest and the highest 8-bit number."""
BINS = 2048
"""Bins of the histogram of a map's values, from which its range is chosen."""
SAMPLE = 8192
"""Values of a map of one image that the histogram counts at most, spread evenly over the map."""


class Scale(NamedTuple):
    """Value of one step of a quantised map, and the whole number that represents 0.

    Example:
        >>> scale = Scale.of(-1.0, 1.55)
        >>> scale.zero, scale.rounded(np.asarray([0.0, 0.014, 9.0])).round(2).tolist()
        (100, [0.0, 0.01, 1.55])
    """

    step: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Scale:
        """Return the scale of a range, widened to contain 0, because padding must stay exactly 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / LEVELS or 1.0
        return cls(step, round(-low / step))

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values (n,) after quantisation to 8 bits and back."""
        return (np.clip(np.round(values / self.step) + self.zero, 0, LEVELS) - self.zero) * self.step


@dataclass(frozen=True)
class _Layer:
    """A convolution that is quantised: its node, weight (O, I, h, w) and bias (O,)."""

    node: NodeProto
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def map(self) -> str:
        """Name of the input map."""
        return str(self.node.input[0])


def quantise(
    model: ModelProto, images_bgr: Iterable[NDArray[np.uint8]], *, reduced_range: bool = False
) -> ModelProto:
    """Return an exported network with INT8 convolutions, calibrated on photographs.

    The dense convolutions of the backbone from stage 2 on, of the neck and of the head are quantised. Layers
    that cost AP and save little time stay float32: stem and stage 1, depthwise convolutions (each channel has
    its own range), channel attention, the last layer of the head, and decoding.

    Rounding shifts the mean output of a convolution. The shift is measured and subtracted from the bias (bias
    correction; Nagel et al., arXiv:1906.04721, section 4.2, here with data).

    Args:
        model: written by `aerostat.model.onnx_graph.onnx_model`; left as it is.
        images_bgr: 16 to 64 photographs (H, W, 3) uint8 like those of later use, letterboxed to the model's
            input size. They need no labels; all are held in memory.
        reduced_range: use 7 bits for weights. Processors without VNNI (before about 2019) need this, because
            sums of 8-bit products may overflow there.

    Raises:
        InputError: there are no images, an image has another size, the model has nothing to quantise, or ONNX
            Runtime is not installed.
        AerostatError: the network's values on an image are not finite.
    """
    layers = _layers(model)
    images = _checked(model, images_bgr)
    scales = _scales(model, sorted({layer.map for layer in layers}), images)
    means = _means(model, scales, images)
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    _insert(quantised, layers, scales, means, top=63 if reduced_range else 127)
    for entry in quantised.metadata_props:
        if entry.key == KEY:
            exported = Exported.from_json(entry.value, Path("The model"))
            entry.value = replace(exported, precision="int8").to_json()
    onnx.checker.check_model(quantised)
    return quantised


def _layers(model: ModelProto) -> list[_Layer]:
    """Return the dense convolutions followed by SiLU, except those of stem and stage 1.

    Raises:
        InputError: there is no such convolution, or the model is quantised already.
    """
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise InputError("Expected a float32 model to quantise, found one that is INT8 already.")
    arrays = {array.name: array for array in model.graph.initializer}
    before_silu = {name for node in model.graph.node if node.op_type == "Sigmoid" for name in node.input}
    layers = []
    for node in model.graph.node:
        if node.op_type != "Conv" or node.output[0] not in before_silu or node.name.startswith(EXACT):
            continue
        if all(attribute.i == 1 for attribute in node.attribute if attribute.name == "group"):
            weight, bias = (numpy_helper.to_array(arrays[name]) for name in node.input[1:])
            layers.append(_Layer(node, weight, bias))
    if not layers:
        raise InputError(
            "Expected a model written by `aerostat export` to quantise, found one without its convolutions."
        )
    return layers


def _checked(model: ModelProto, images_bgr: Iterable[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return the images after a check that each can be the model's input.

    Raises:
        InputError: there is no image, or one has another shape or type.
    """
    images = list(images_bgr)
    if not images:
        raise InputError(
            "INT8 needs photographs to calibrate with, found none; name a folder of photographs."
        )
    wanted = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    expected = " x ".join(str(side) if side else "any" for side in wanted)
    for index, image in enumerate(images):
        fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0
        sides = zip(image.shape, wanted, strict=True) if fits else ()
        if not fits or any(side != want if want else side % 32 for side, want in sides):
            raise InputError(
                f"Expected images of {expected} (height, width, 3) uint8 to calibrate with, found "
                f"{image.shape} of {image.dtype} (image {index}); letterbox them first."
            )
    return images


# ------------------------------------------------------------------------------------- calibration


def _scales(model: ModelProto, names: Sequence[str], images: Sequence[NDArray[np.uint8]]) -> dict[str, Scale]:
    """Return for each map (N, C, h, w) the scale that changes its values least."""
    lows, highs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for maps in _run(model, [], names, images):
        for name, values in maps.items():
            lows[name] = min(lows[name], float(values.min()))
            highs[name] = max(highs[name], float(values.max()))
            flat = values.ravel()
            samples[name].append(flat[:: -(-flat.size // SAMPLE) | 1].copy())  # an odd step prefers no column
    scales = {}
    for name in names:
        counts, edges = np.histogram(np.concatenate(samples[name]), BINS, (lows[name], highs[name] or 1.0))
        scales[name] = nearest_scale((edges[1:] + edges[:-1]) / 2, counts)
    return scales


def nearest_scale(values: NDArray[np.float64], counts: NDArray[Any]) -> Scale:
    """Return the scale that rounds values with the least mean squared error.

    It may clip a few large values, if this makes the steps of all other values finer.

    Args:
        values: (n,) ascending, such as the middles of a histogram's bins.
        counts: (n,) how often each occurs.
    """
    low, high = min(float(values[0]), 0.0), max(float(values[-1]), 0.0)
    best, least = Scale.of(low, high), np.inf
    # SiLU gives no value below -0.28, so only sums of several maps are worth clipping at the bottom.
    for bottom in low * np.linspace(1, 0.2, 17) if low < -0.5 else [low]:
        for top in high * np.linspace(1, 0.1, 46):
            scale = Scale.of(float(bottom), float(top))
            error = float(np.square(scale.rounded(values) - values) @ counts)
            if error < least:
                best, least = scale, error
    return best


class _Mean(NamedTuple):
    """Mean of each channel (C,) of a map over all images: exact, and after rounding to 8 bits."""

    exact: NDArray[np.float64]
    rounded: NDArray[np.float64]


def _means(
    model: ModelProto, scales: Mapping[str, Scale], images: Sequence[NDArray[np.uint8]]
) -> dict[str, _Mean]:
    """Return the channel means of each quantised map; nodes added to the network compute them."""
    nodes, arrays, wanted = [], [], []
    for name, scale in scales.items():
        pair, constants = _quantised_map(name, scale)
        nodes += pair
        arrays += constants
        for map_name in (name, f"{name}.dequantised"):
            nodes.append(helper.make_node("GlobalAveragePool", [map_name], [f"{map_name}.mean"]))
            wanted.append(f"{map_name}.mean")
    total = {name: np.zeros(1) for name in wanted}
    for means in _run(model, nodes, wanted, images, arrays):
        for name, mean in means.items():
            total[name] = total[name] + mean[0, :, 0, 0].astype(np.float64) / len(images)
    return {name: _Mean(total[f"{name}.mean"], total[f"{name}.dequantised.mean"]) for name in scales}


def _run(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    outputs: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    arrays: Sequence[TensorProto] = (),
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield `outputs` of the graph for one image after the other, with `nodes` and `arrays` added to it.

    Raises:
        InputError: ONNX Runtime is not installed.
        AerostatError: an output is not finite.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "INT8 needs ONNX Runtime to calibrate; install it with: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _asked(model, nodes, outputs, arrays).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for index, image in enumerate(images):
        values = session.run(None, {"images": image[None]})
        if not all(np.isfinite(value.sum(dtype=np.float64)) for value in values):
            raise AerostatError(
                f"The network's values on image {index} of {counted(len(images), 'image')} to calibrate with "
                "are not finite; its weights are damaged, or its training diverged."
            )
        yield dict(zip(outputs, values, strict=True))


def _asked(
    model: ModelProto, nodes: Sequence[NodeProto], outputs: Sequence[str], arrays: Sequence[TensorProto]
) -> ModelProto:
    """Return the graph with further nodes and arrays, cut off after the new outputs, for one image."""
    wanted, kept = set(outputs), []
    for node in reversed((*model.graph.node, *nodes)):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    images = _copy(model.graph.input[0])
    images.type.tensor_type.shape.dim[0].dim_param = "N"
    graph = helper.make_graph(
        kept[::-1],
        "calibration",
        [images],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [array for array in (*model.graph.initializer, *arrays) if array.name in wanted],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


# ----------------------------------------------------------------------------------------- the graph


def _insert(
    model: ModelProto,
    layers: Sequence[_Layer],
    scales: Mapping[str, Scale],
    means: Mapping[str, _Mean],
    top: int,
) -> None:
    """Put the quantised layers into the graph; quantised weights lie within -`top` and `top`."""
    by_name = {layer.node.name: layer for layer in layers}
    nodes: list[NodeProto] = []
    arrays: dict[str, TensorProto] = {array.name: array for array in model.graph.initializer}
    quantised: set[str] = set()
    for node in model.graph.node:
        layer = by_name.get(node.name)
        if layer is not None:
            if layer.map not in quantised:
                quantised.add(layer.map)
                pair, constants = _quantised_map(layer.map, scales[layer.map])
                nodes += pair
                arrays |= {array.name: array for array in constants}
            weight, bias, constants = _quantised_weight(layer, means[layer.map], top)
            nodes.append(weight)
            arrays |= {array.name: array for array in (*constants, bias)}
            del arrays[node.input[1]]
            node.input[:] = [f"{layer.map}.dequantised", weight.output[0], bias.name]
        nodes.append(node)
    nodes, kept = [_copy(node) for node in nodes], [_copy(array) for array in arrays.values()]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)


def _copy(message: Any) -> Any:
    """Return a copy, which stays valid when the list that owns the message is emptied."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _quantised_map(name: str, scale: Scale) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes that compute `<name>.dequantised`, and their constants."""
    step, zero, whole = f"{name}.step", f"{name}.zero", f"{name}.quantised"
    nodes = [
        helper.make_node("QuantizeLinear", [name, step, zero], [whole], name=whole),
        helper.make_node(
            "DequantizeLinear", [whole, step, zero], [f"{name}.dequantised"], name=f"{name}.dequantised"
        ),
    ]
    constants: dict[str, NDArray[Any]] = {
        step: np.asarray(scale.step, np.float32),
        zero: np.asarray(scale.zero, np.uint8),
    }
    return nodes, [numpy_helper.from_array(value, key) for key, value in constants.items()]


def _quantised_weight(
    layer: _Layer, mean: _Mean, top: int
) -> tuple[NodeProto, TensorProto, list[TensorProto]]:
    """Return the node that computes a layer's weight, the corrected bias, and the node's constants."""
    name, bias_name = layer.node.input[1:]
    largest = np.abs(layer.weight).max((1, 2, 3))
    steps = np.where(largest > 0, largest / top, 1).astype(np.float32)
    whole = np.clip(np.round(layer.weight / steps[:, None, None, None]), -top, top)
    # Each weight of a kernel sees the mean of the map on average; the border is neglected.
    exact = layer.weight.sum((2, 3), dtype=np.float64) @ mean.exact
    rounded = (whole.sum((2, 3), dtype=np.float64) * steps[:, None]) @ mean.rounded
    bias = (layer.bias + exact - rounded).astype(np.float32)
    arrays: dict[str, NDArray[Any]] = {
        f"{name}.quantised": whole.astype(np.int8),
        f"{name}.step": steps,
        f"{name}.zero": np.zeros(len(steps), np.int8),
    }
    node = helper.make_node(
        "DequantizeLinear", list(arrays), [f"{name}.dequantised"], name=f"{name}.dequantised", axis=0
    )
    constants = [numpy_helper.from_array(value, key) for key, value in arrays.items()]
    return node, numpy_helper.from_array(bias, bias_name), constants
