"""Each method's formula on a case of two channels and two cells worked out by hand."""

import pytest
import torch
from torch import Tensor

from aerostat.explanation import methods

ACTIVATIONS = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]])  # (2, 1, 2)
GRADIENTS = torch.tensor([[[1.0, 3.0]], [[-2.0, 0.0]]])


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # Channel means of the gradients: 2 and -1. 2 * 1 - 3 < 0, 2 * 2 + 1.
        (methods.gradcam, [0, 5]),
        # Shares 1 / (2 + 3 * 1) and 9 / (18 + 3 * 27) of the first channel (sum 3), its weight 1 / 5 * 1 +
        # 1 / 11 * 3; the second channel has no positive gradient.
        (methods.gradcampp, [26 / 55, 52 / 55]),
        # Products 1, 6 and -6, 0.
        (methods.hirescam, [0, 6]),
        (methods.layercam, [1, 6]),
        # Magnitudes of the same products.
        (methods.boxam_gradcam, [7, 6]),
        # Shares 1 / 5, 1 / 11 and, with gradient 2 and sum 4, 4 / (8 + 4 * 8).
        (methods.boxam_gradcampp, [1 / 5 * 1 + 1 / 10 * 2 * 3, 1 / 11 * 3 * 2]),
    ],
)
def test_a_gradient_method_gives_the_map_worked_out_by_hand(method: object, expected: list[float]) -> None:
    assert callable(method)
    made: Tensor = method(ACTIVATIONS, GRADIENTS)
    assert made[0].tolist() == pytest.approx(expected, rel=1e-4)


def test_ablationcam_weights_channels_by_their_drops() -> None:
    made = methods.ablationcam(ACTIVATIONS, torch.tensor([0.5, -0.25]))
    assert made[0].tolist() == pytest.approx([0, 1.25])  # 0.5 - 0.75 < 0, 1 + 0.25


def test_eigencam_is_the_projection_on_the_first_component_towards_more_activation() -> None:
    cells = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]).T[:, None]  # on a line, 5 apart
    assert methods.eigencam(cells)[0].tolist() == pytest.approx([0, 0, 5], abs=1e-6)


def test_eigencam_is_the_same_with_more_channels_than_cells() -> None:
    cells = torch.zeros(50, 1, 3)
    cells[7, 0], cells[8, 0] = torch.tensor([0.0, 3.0, 6.0]), torch.tensor([0.0, 4.0, 8.0])
    assert methods.eigencam(cells)[0].tolist() == pytest.approx([0, 0, 5], abs=1e-6)


def test_eigengradcam_points_to_where_activation_times_gradient_is_positive() -> None:
    cells = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]).T[:, None]
    for_, against = torch.ones_like(cells), -torch.ones_like(cells)
    assert methods.eigengradcam(cells, for_)[0].tolist() == pytest.approx([0, 0, 5], abs=1e-6)
    assert methods.eigengradcam(cells, against)[0].tolist() == pytest.approx([5, 0, 0], abs=1e-6)


@pytest.mark.parametrize(
    "method",
    [methods.gradcam, methods.gradcampp, methods.hirescam, methods.layercam, methods.eigengradcam,
     methods.boxam_gradcam, methods.boxam_gradcampp, lambda a, _: methods.eigencam(a)],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (2, 1, 6)])
def test_maps_have_the_shape_of_the_cells_and_are_never_negative(
    method: object, shape: tuple[int, int, int]
) -> None:
    assert callable(method)
    made = method(torch.randn(shape), torch.randn(shape))
    assert made.shape == shape[1:]
    assert torch.isfinite(made).all()
    assert (made >= 0).all()
    assert not method(torch.zeros(shape), torch.zeros(shape)).any()
