"""INT8: an exported network whose dense convolutions compute with whole numbers, calibrated on photographs.

Static quantisation as in Jacob et al., *Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference*, arXiv:1712.05877: one scale per output channel for weights, one scale and
zero point per map for what goes in, written as QuantizeLinear and DequantizeLinear around the convolution,
which every runtime either turns into integer arithmetic or computes as it stands. What was measured, and what
was tried and dropped, is in `benchmarks/int8.md`.
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
"""Where convolutions stay float32 that would be quantised elsewhere: half of INT8's error came from them."""
LEVELS = 255
"""Steps between the lowest and the highest number of 8 bits."""
BINS = 2048
"""Of the histogram of a map's values that its range is chosen by."""
SAMPLE = 8192
"""Values of each map of each image that the histogram counts at most; they lie evenly over the map."""


class Scale(NamedTuple):
    """What a step of a quantised map is worth, and the whole number that stands for 0."""

    step: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Scale:
        """Return the scale of a range, which is widened to contain 0: padding has to stay exactly 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / LEVELS or 1.0
        return cls(step, round(-low / step))

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values as they come back from 8 bits."""
        return (np.clip(np.round(values / self.step) + self.zero, 0, LEVELS) - self.zero) * self.step


@dataclass(frozen=True)
class _Layer:
    """A convolution that is quantised: its node, weight (O, I, h, w) and bias (O,)."""

    node: NodeProto
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def map(self) -> str:
        """Name of what goes in."""
        return str(self.node.input[0])


def quantise(
    model: ModelProto, images_bgr: Iterable[NDArray[np.uint8]], *, reduced_range: bool = False
) -> ModelProto:
    """Return an exported network with INT8 convolutions, calibrated on images like those it will see.

    Quantised are the dense convolutions of the backbone from stage 2 on, of neck and head. What costs AP and
    saves little stays float32: stem and stage 1, depthwise convolutions (each of their channels has a range
    of its own), channel attention, the last layer of the head and all of decoding. Rounding shifts the mean
    of what a convolution gives; the shift is measured and taken off its bias (Nagel et al., *Data-Free
    Quantization Through Weight Equalization and Bias Correction*, arXiv:1906.04721, section 4.2, here with
    data).

    Args:
        model: as `aerostat.model.onnx_graph.onnx_model` writes it; left as it is.
        images_bgr: (H, W, 3) uint8, letterboxed to the size of the model's input; 16 to 64 of them, no labels
            needed. All are held in memory.
        reduced_range: 7 bits for weights, for processors without VNNI (before about 2019), where sums of
            8-bit products may overflow.

    Raises:
        InputError: no images, images of another size, a model that holds nothing to quantise, or ONNX Runtime
            is not installed.
        AerostatError: the network's values on an image are not numbers.
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
    """Return the dense convolutions that SiLU follows, but for those of stem and stage 1.

    Raises:
        InputError: there are none, or the model is quantised already.
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
    """Return the images, each fit to be the model's input.

    Raises:
        InputError: there are none, or one is not.
    """
    images = list(images_bgr)
    if not images:
        raise InputError("INT8 needs photographs to calibrate with, found none; name a folder that has some.")
    asked = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    expected = " x ".join(str(side) if side else "any" for side in asked)
    for index, image in enumerate(images):
        fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0
        sides = zip(image.shape, asked, strict=True) if fits else ()
        if not fits or any(side != want if want else side % 32 for side, want in sides):
            raise InputError(
                f"Expected images of {expected} (height, width, 3) uint8 to calibrate with, found "
                f"{image.shape} of {image.dtype} (image {index}); letterbox them first."
            )
    return images


# ------------------------------------------------------------------------------------- calibration


def _scales(model: ModelProto, names: Sequence[str], images: Sequence[NDArray[np.uint8]]) -> dict[str, Scale]:
    """Return the scale of each map, (N, C, h, w): the one that changes its values least."""
    lows, highs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for maps in _run(model, [], names, images):
        for name, values in maps.items():
            lows[name] = min(lows[name], float(values.min()))
            highs[name] = max(highs[name], float(values.max()))
            flat = values.ravel()
            samples[name].append(flat[:: -(-flat.size // SAMPLE) | 1].copy())  # odd: no column is preferred
    scales = {}
    for name in names:
        counts, edges = np.histogram(np.concatenate(samples[name]), BINS, (lows[name], highs[name] or 1.0))
        scales[name] = nearest_scale((edges[1:] + edges[:-1]) / 2, counts)
    return scales


def nearest_scale(values: NDArray[np.float64], counts: NDArray[Any]) -> Scale:
    """Return the scale that rounds values with the least mean squared error.

    Few large values are worth cutting off where that makes the steps of all others finer.

    Args:
        values: (n,) ascending, such as the middles of a histogram's bins.
        counts: (n,) how often each occurs.
    """
    low, high = min(float(values[0]), 0.0), max(float(values[-1]), 0.0)
    best, least = Scale.of(low, high), np.inf
    # After SiLU nothing lies below -0.28: only the sums of several maps are worth cutting there.
    for bottom in low * np.linspace(1, 0.2, 17) if low < -0.5 else [low]:
        for top in high * np.linspace(1, 0.1, 46):
            scale = Scale.of(float(bottom), float(top))
            error = float(np.square(scale.rounded(values) - values) @ counts)
            if error < least:
                best, least = scale, error
    return best


class _Mean(NamedTuple):
    """Mean of each channel (C,) of a map over all images: as it is, and as it comes back from 8 bits."""

    exact: NDArray[np.float64]
    rounded: NDArray[np.float64]


def _means(
    model: ModelProto, scales: Mapping[str, Scale], images: Sequence[NDArray[np.uint8]]
) -> dict[str, _Mean]:
    """Return the means of each map that is quantised; the network itself computes them."""
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
    """Yield values of the graph for one image after the other, with nodes and arrays added to it.

    Raises:
        InputError: ONNX Runtime is not installed.
        AerostatError: some of them are not numbers.
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
                "are not numbers; its weights are damaged, or were trained until they diverged."
            )
        yield dict(zip(outputs, values, strict=True))


def _asked(
    model: ModelProto, nodes: Sequence[NodeProto], outputs: Sequence[str], arrays: Sequence[TensorProto]
) -> ModelProto:
    """Return the graph with further nodes and arrays, one image at a time, cut off behind its new outputs."""
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
    """Put the quantised layers into the graph; weights are at most `top` in whole numbers."""
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
    """Return a copy that lives on when the list that it stands in is emptied."""
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _quantised_map(name: str, scale: Scale) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes that give `<name>.dequantised`, and their constants."""
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
    """Return the node that gives a layer's weight, its corrected bias, and the node's constants."""
    name, bias_name = layer.node.input[1:]
    largest = np.abs(layer.weight).max((1, 2, 3))
    steps = np.where(largest > 0, largest / top, 1).astype(np.float32)
    whole = np.clip(np.round(layer.weight / steps[:, None, None, None]), -top, top)
    # A mean over the map is what a kernel sees on average, but for the map's border, which is left aside.
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
