"""Batch normalisation and SiLU in four passes over memory, compiled by numba on the user's machine.

torch needs ten passes. Here the forward pass reads a map for its statistics, then reads it again and writes
the result. The backward pass computes the input of SiLU again, once for the sums and once for the gradient.

A map is a table of rows. Several neighbouring pixels form one row where a pixel has few channels, so that
each row fills the vector registers. Places of a row that belong to one channel are merged at the end.

Sums are made per chunk of rows, and chunks do not depend on the number of threads. Results are therefore the
same to the bit for any number of threads. Chunks are merged in float64.

This module needs numba, which is an extra; see `aerostat.model.compiled`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

BLOCK = 8192
"""Values whose statistics are taken in two passes: 32 KiB stay in the nearest cache between the passes."""

# No flag that lets the compiler assume finite numbers: a value that is not finite has to reach the losses.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
}


def _compiled(function: Any) -> Any:
    """Return the compiled form. It is kept in a file for the next process, where a folder can be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no such folder
        return numba.njit(**_OPTIONS)(function)


_ONE = np.float32(1)
_LOG2_E = np.float32(1.4426950408889634)
_LOG2_E_REST = np.float32(1.4426950408889634 - float(_LOG2_E))
_LARGEST = np.float32(126)


def _coefficients() -> tuple[np.float32, ...]:
    """Return a polynomial of degree 6 that is 2**f for f in [0, 1), with an error below 3e-9."""
    polynomial = np.polynomial.Chebyshev.interpolate(np.exp2, 6, domain=[0, 1])
    return tuple(np.float32(c) for c in polynomial.convert(kind=np.polynomial.Polynomial).coef)


_C0, _C1, _C2, _C3, _C4, _C5, _C6 = _coefficients()


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _as_float(_: Any, bits: Any) -> Any:
    """Return the float32 with these bits (int32)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


def _sigmoid(y: Any) -> Any:
    """Return 1 / (1 + exp(-y)) with the error of float32."""
    power = -y * _LOG2_E
    whole = np.floor(min(max(power, -_LARGEST), _LARGEST))
    part = (-y * _LOG2_E - whole) - y * _LOG2_E_REST
    part = min(max(part, np.float32(0)), _ONE)
    p = _C6
    p = p * part + _C5
    p = p * part + _C4
    p = p * part + _C3
    p = p * part + _C2
    p = p * part + _C1
    p = p * part + _C0
    exponential = p * _as_float((np.int32(whole) + np.int32(127)) << np.int32(23))
    return _ONE / (_ONE + exponential)


_sigmoid = numba.njit(inline="always", error_model="numpy", fastmath=_OPTIONS["fastmath"])(_sigmoid)


def _chunk_rows(rows: int, chunks: int) -> int:
    """Return how many rows a chunk has; the last one may have fewer."""
    return -(-rows // chunks)


_chunk_rows = numba.njit(inline="always")(_chunk_rows)


def _statistics(first: int, last: int, x: Any, means: Any, squares: Any) -> None:
    """Write mean and sum of squared deviations (chunks, K) of some chunks of x (R, K).

    Blocks are merged as Chan, Golub and LeVeque do (1979): a large mean costs no digits.
    """
    rows, width = x.shape
    step = _chunk_rows(rows, len(means))
    size = max(4, BLOCK // width)
    mean = np.empty(width, np.float32)
    square = np.empty(width, np.float32)
    for chunk in range(first, last):
        end = min(rows, (chunk + 1) * step)
        total, deviations = means[chunk], squares[chunk]
        for k in range(width):
            total[k] = 0.0
            deviations[k] = 0.0
        seen = 0
        for low in range(chunk * step, end, size):
            high = min(end, low + size)
            for k in range(width):
                mean[k] = np.float32(0)
                square[k] = np.float32(0)
            row = low
            while row + 4 <= high:
                for k in range(width):
                    mean[k] += (x[row, k] + x[row + 1, k]) + (x[row + 2, k] + x[row + 3, k])
                row += 4
            while row < high:
                for k in range(width):
                    mean[k] += x[row, k]
                row += 1
            share = _ONE / np.float32(high - low)
            for k in range(width):
                mean[k] *= share
            row = low
            while row + 4 <= high:
                for k in range(width):
                    a, b = x[row, k] - mean[k], x[row + 1, k] - mean[k]
                    c, d = x[row + 2, k] - mean[k], x[row + 3, k] - mean[k]
                    square[k] += (a * a + b * b) + (c * c + d * d)
                row += 4
            while row < high:
                for k in range(width):
                    a = x[row, k] - mean[k]
                    square[k] += a * a
                row += 1
            count = high - low
            part = count / (seen + count)
            for k in range(width):
                delta = mean[k] - total[k]
                total[k] += delta * part
                deviations[k] += square[k] + delta * delta * (seen * part)
            seen += count


statistics = _compiled(_statistics)


def _finish_statistics(
    rows: int, means: Any, squares: Any, per_channel: Any, running: Any, settings: Any, found: Any
) -> None:
    """Merge the statistics of chunks and places, and write what the other passes need.

    Args:
        rows: of the map.
        means, squares: (chunks, K) of `statistics`.
        per_channel: weight and bias (C,).
        running: mean and variance (C,), moved in place.
        settings: eps and momentum.
        found: mean (C,), inverse deviation (C,), scale (K,) and shift (K,), written.
    """
    weight, bias = per_channel
    running_mean, running_variance = running
    eps, momentum = settings
    mean, inverse, scale, shift = found
    channels, width = len(weight), means.shape[1]
    step = _chunk_rows(rows, len(means))
    count = rows * (width // channels)
    for c in range(channels):
        middle, square = 0.0, 0.0
        for chunk in range(len(means)):
            size = min(rows, (chunk + 1) * step) - chunk * step
            for k in range(c, width, channels):
                middle += means[chunk, k] * size
        middle /= count
        for chunk in range(len(means)):
            size = min(rows, (chunk + 1) * step) - chunk * step
            for k in range(c, width, channels):
                square += squares[chunk, k] + size * (means[chunk, k] - middle) ** 2
        variance = square / count
        deviation = 1.0 / np.sqrt(variance + eps)
        mean[c], inverse[c] = middle, deviation
        for k in range(c, width, channels):
            scale[k] = weight[c] * deviation
            shift[k] = bias[c] - middle * weight[c] * deviation
        running_mean[c] += momentum * (middle - running_mean[c])
        running_variance[c] += momentum * (square / max(count - 1, 1) - running_variance[c])


finish_statistics = _compiled(_finish_statistics)


def _forward(first: int, last: int, x: Any, affine: Any, out: Any) -> None:
    """Write silu(x * scale + shift) of some rows of x (R, K); `affine` is scale and shift (K,)."""
    scale, shift = affine
    for row in range(first, last):
        for k in range(x.shape[1]):
            y = x[row, k] * scale[k] + shift[k]
            out[row, k] = y * _sigmoid(y)


forward = _compiled(_forward)


def _gradient_sums(
    first: int, last: int, x: Any, upper: Any, affine: Any, mean: Any, by_x: Any, by_one: Any
) -> None:
    """Write the sums of d and of d * (x - mean) of some chunks; d is the gradient of SiLU's input.

    Args:
        first, last: chunks.
        x, upper: (R, K), input and gradient of the output.
        affine: scale and shift (K,).
        mean: (K,).
        by_x, by_one: (chunks, K), written.
    """
    scale, shift = affine
    rows, width = x.shape
    step = _chunk_rows(rows, len(by_x))
    size = max(4, BLOCK // width)
    product = np.empty(width, np.float32)
    total = np.empty(width, np.float32)
    for chunk in range(first, last):
        end = min(rows, (chunk + 1) * step)
        for k in range(width):
            by_x[chunk, k] = 0.0
            by_one[chunk, k] = 0.0
        for low in range(chunk * step, end, size):
            for k in range(width):
                product[k] = np.float32(0)
                total[k] = np.float32(0)
            for row in range(low, min(end, low + size)):
                for k in range(width):
                    y = x[row, k] * scale[k] + shift[k]
                    a = _sigmoid(y)
                    d = upper[row, k] * (a + y * a * (_ONE - a))
                    total[k] += d
                    product[k] += d * (x[row, k] - mean[k])
            for k in range(width):
                by_x[chunk, k] += product[k]
                by_one[chunk, k] += total[k]


gradient_sums = _compiled(_gradient_sums)


def _finish_sums(rows: int, by_x: Any, by_one: Any, mean: Any, inverse: Any, scale: Any, found: Any) -> None:
    """Merge the sums of chunks and places, and write the gradients of weight and bias, and a line.

    The input's gradient is d * scale + x * slope + level.

    Args:
        rows: of the map.
        by_x, by_one: (chunks, K) of `gradient_sums`.
        mean, inverse: (C,).
        scale: (K,).
        found: by weight (C,), by bias (C,), slope (K,) and level (K,), written.
    """
    by_weight, by_bias, slope, level = found
    channels, width = len(mean), by_x.shape[1]
    count = rows * (width // channels)
    for c in range(channels):
        product, total = 0.0, 0.0
        for chunk in range(len(by_x)):
            for k in range(c, width, channels):
                product += by_x[chunk, k]
                total += by_one[chunk, k]
        product *= inverse[c]
        by_weight[c], by_bias[c] = product, total
        steepness = -product * inverse[c] * scale[c] / count
        for k in range(c, width, channels):
            slope[k] = steepness
            level[k] = -total * scale[c] / count - steepness * mean[c]


finish_sums = _compiled(_finish_sums)


def _backward(first: int, last: int, x: Any, upper: Any, affine: Any, line: Any, out: Any) -> None:
    """Write the gradient of the input for some rows; `affine` is scale and shift, `line` slope and level."""
    scale, shift = affine
    slope, level = line
    for row in range(first, last):
        for k in range(x.shape[1]):
            y = x[row, k] * scale[k] + shift[k]
            a = _sigmoid(y)
            d = upper[row, k] * (a + y * a * (_ONE - a))
            out[row, k] = d * scale[k] + (x[row, k] * slope[k] + level[k])


backward = _compiled(_backward)
