"""Formulas of class activation maps: from activations and gradients of a layer to one map.

Each function takes the activations and the gradients of the target by them, both (C, h, w), cut to the cells
on the photograph. It returns a map (h, w) that is not negative, so it only shows what speaks for the target.

The published pictures of Box AM (MMYOLO 0.6) do not follow the formulas of the papers: gradients are not
averaged over the cells, and gradients and activations count by their magnitude. `boxam_gradcam` and
`boxam_gradcampp` are these forms. They suit the loss of detections against themselves. This loss is at its
minimum, where the sign of a gradient means nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

TITLES = {
    "gradcam": "GradCAM",
    "gradcampp": "GradCAM++",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "ablationcam": "AblationCAM",
    "drise": "D-RISE",
}
"""Name of each method in its paper."""

GRADCAMPP_EPS = 1e-6
"""Keeps the quotient of GradCAM++ finite, as in grad-cam 1.4.8, which made the published pictures."""


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return channels weighted by the mean of their gradients (Selvaraju et al., arXiv:1610.02391)."""
    return _weighted(activations, gradients.mean((1, 2)))


def gradcampp(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return channels weighted by their positive gradients and by the shares of second derivatives.

    Chattopadhay et al., arXiv:1710.11063, equations 10 and 19. The paper differentiates the logarithm of its
    target, so the `score` target, a logarithm, fits.
    """
    share = _second_order_share(activations, gradients)
    return _weighted(activations, (share * gradients.clamp(min=0)).sum((1, 2)))


def boxam_gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the form of GradCAM in published pictures of Box AM: magnitudes of activation times gradient."""
    return (gradients * activations).abs().sum(0)


def boxam_gradcampp(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the form of GradCAM++ in published pictures of Box AM: from magnitudes, by cell."""
    activations, gradients = activations.abs(), gradients.abs()
    return (_second_order_share(activations, gradients) * gradients * activations).sum(0)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return cells weighted by their own gradients (Draelos and Carin, arXiv:2011.08891, equation 3)."""
    return (gradients * activations).sum(0).clamp(min=0)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return cells weighted by their own positive gradients (Jiang et al., LayerCAM, IEEE TIP 30, 2021)."""
    return (gradients.clamp(min=0) * activations).sum(0).clamp(min=0)


def eigencam(activations: Tensor) -> Tensor:
    """Return the first principal component of the channels (Muhammad and Yeasin, arXiv:2008.00299).

    It does not depend on the target. A principal component has no sign; here it points to more activation.
    """
    return _pointing_to(principal_component(activations), (activations**2).sum(0)).clamp(min=0)


def eigengradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the first principal component of activation times gradient, with the sign of their sum."""
    product = gradients * activations
    return _pointing_to(principal_component(product), product.sum(0)).clamp(min=0)


def ablationcam(activations: Tensor, drops: Tensor) -> Tensor:
    """Return channels weighted by the drop of the target without them (Desai and Ramaswamy, WACV 2020).

    Args:
        activations: (C, h, w).
        drops: (C,) drop without each channel, as a share of the target.
    """
    return _weighted(activations, drops)


def principal_component(values: Tensor) -> Tensor:
    """Return (h, w), of any sign: the first principal component of the cells' channels."""
    cells = values.flatten(1).T.cpu().double()  # (h * w, C) on the CPU, because some devices lack float64
    cells = cells - cells.mean(0)
    if cells.shape[0] >= cells.shape[1]:  # the smaller of the two products has the same first component
        component: Tensor = cells @ torch.linalg.eigh(cells.T @ cells).eigenvectors[:, -1]
    else:
        sizes, vectors = torch.linalg.eigh(cells @ cells.T)
        component = vectors[:, -1] * sizes[-1].clamp(min=0).sqrt()
    return component.reshape(values.shape[1:]).float().to(values.device)


def _pointing_to(component: Tensor, values: Tensor) -> Tensor:
    """Return the component (h, w) with the sign that correlates with `values` (h, w)."""
    along = (component * (values - values.mean())).sum()
    return -component if along < 0 else component


def _second_order_share(activations: Tensor, gradients: Tensor) -> Tensor:
    square, cube = gradients**2, gradients**3
    share = square / (2 * square + activations.sum((1, 2), keepdim=True) * cube + GRADCAMPP_EPS)
    return torch.where(gradients != 0, share, 0)


def _weighted(activations: Tensor, weights: Tensor) -> Tensor:
    return (weights[:, None, None] * activations).sum(0).clamp(min=0)
