"""The assignment against the published description, worked out pair by pair in plain Python (float64)."""

import math

import pytest
import torch

from aerostat.model import assign, assigner

Pairs = list[list[float]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plain_iou(a: list[float], b: list[float]) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return wide * high / max(areas - wide * high, 1e-6)


def plain_cost(iou: float, logits: list[float], label: int, point: list[float], centre: list[float]) -> float:
    """Soft classification, overlap three times, and 10 to the power of the distance in strides less 3."""
    cost = -3 * math.log(iou + 1e-7) + 10 ** (math.dist(point[:2], centre) / point[2] - 3)
    for k, x in enumerate(logits):
        target = iou if k == label else 0.0
        cross_entropy = math.log1p(math.exp(x)) - x * target
        cost += cross_entropy * (target - sigmoid(x)) ** 2
    return cost


def plain_assign(boxes, logits, points, gts, labels, centres) -> tuple[list[int], list[float]]:
    """One image: which box (from 1) each point learns, and how much they overlap."""
    contains = [[x1 < x < x2 and y1 < y < y2 for x, y, _ in points] for x1, y1, x2, y2 in gts]
    usable = [p for p in range(len(points)) if any(row[p] for row in contains)]
    claims: dict[int, list[tuple[float, int]]] = {p: [] for p in usable}
    iou = [[plain_iou(gt, box) for box in boxes] for gt in gts]
    for g, _ in enumerate(gts):
        wanted = max(1, int(sum(sorted((iou[g][p] for p in usable), reverse=True)[:13])))
        costs = {p: plain_cost(iou[g][p], logits[p], labels[g], points[p], centres[g]) for p in usable}
        for p in sorted(usable, key=costs.__getitem__)[:wanted]:
            claims[p].append((costs[p], g))
    # A point that several boxes claim goes to the cheapest of all boxes, as published.
    index, overlap = [0] * len(points), [0.0] * len(points)
    for p, claimed in claims.items():
        if not claimed:
            continue
        g = claimed[0][1]
        if len(claimed) > 1:
            every = [
                plain_cost(iou[g][p], logits[p], labels[g], points[p], centres[g]) for g in range(len(gts))
            ]
            g = every.index(min(every))
        index[p], overlap[p] = g + 1, iou[g][p]
    return index, overlap


def grid(size: int = 64) -> torch.Tensor:
    rows = [(x, y, s) for s in (8, 16, 32) for y in range(0, size, s) for x in range(0, size, s)]
    return torch.tensor(rows, dtype=torch.float32)


def random_image(seed: int, objects: int, classes: int):
    g = torch.Generator().manual_seed(seed)
    points = grid()
    corner = torch.rand(objects, 2, generator=g) * 40
    gts = torch.cat([corner, corner + 6 + torch.rand(objects, 2, generator=g) * 24], 1)
    reach = torch.rand(len(points), 4, generator=g) * points[:, 2:] * 3
    boxes = torch.cat([points[:, :2] - reach[:, :2], points[:, :2] + reach[:, 2:]], 1)
    logits = torch.randn(len(points), classes, generator=g) * 2
    return boxes, logits, points, gts, torch.randint(classes, (objects,), generator=g)


def assert_as_described(match, image: int, boxes, logits, points, gts, labels, centres=None) -> None:
    middles = (gts[:, :2] + gts[:, 2:]) / 2 if centres is None else centres
    columns = (boxes, logits, points, gts, labels, middles)
    index, overlap = plain_assign(*(column.double().tolist() for column in columns[:4]),
                                  labels.tolist(), middles.double().tolist())  # fmt: skip
    assert match.gt_index[image].tolist() == index
    assert match.iou[image].tolist() == pytest.approx(overlap, abs=1e-5)


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("objects", [1, 2, 7])
@pytest.mark.parametrize("seed", range(6))
def test_points_learn_what_the_description_says(seed: int, objects: int, classes: int) -> None:
    boxes, logits, points, gts, labels = case = random_image(seed, objects, classes)
    match = assign(boxes[None], logits[None], points, [gts], [labels])
    assert (match.gt_index > 0).any()
    assert_as_described(match, 0, *case)


def test_given_centres_take_the_place_of_the_boxes_centres() -> None:
    boxes, logits, points, gts, labels = random_image(3, 4, 2)
    centres = gts[:, :2] - 24
    match = assign(boxes[None], logits[None], points, [gts], [labels], [centres])
    assert_as_described(match, 0, boxes, logits, points, gts, labels, centres)
    plain = assign(boxes[None], logits[None], points, [gts], [labels])
    assert not torch.equal(plain.gt_index, match.gt_index)


@pytest.mark.parametrize("pairs", [1, 84 * 7, 84 * 7 * 2, 1 << 24])
def test_images_of_a_batch_are_assigned_as_each_alone_whatever_the_groups(monkeypatch, pairs: int) -> None:
    monkeypatch.setattr(assigner, "PAIRS_AT_ONCE", pairs)
    cases = [random_image(seed, objects, 3) for seed, objects in enumerate((2, 7, 0, 0, 1, 4))]
    boxes, logits, points, gts, labels = zip(*cases, strict=True)
    match = assign(torch.stack(boxes), torch.stack(logits), points[0], gts, labels)
    for image, case in enumerate(cases):
        assert_as_described(match, image, *case)
    assert not match.gt_index[2].any() and not match.iou[2].any()


def test_a_box_takes_its_cheapest_point_even_if_nothing_overlaps_it() -> None:
    points = torch.tensor([[8.0, 8, 8], [16, 8, 8], [24, 8, 8]])
    gts, nowhere = torch.tensor([[4.0, 4, 20, 12]]), torch.full((1, 3, 4), 100.0) + torch.tensor([0, 0, 1, 1])
    match = assign(nowhere, torch.zeros(1, 3, 1), points, [gts], [torch.tensor([0])])
    # the centre (12, 8) is half a stride from the first two points, and the first of equals is taken
    assert match.gt_index.tolist() == [[1, 0, 0]]
    assert match.iou.tolist() == [[0, 0, 0]]


def test_a_box_takes_thirteen_points_at_most() -> None:
    points = grid()
    gts = torch.tensor([[-1.0, -1, 64, 64]])
    exact = gts[:, None].expand(1, len(points), 4)
    match = assign(exact, torch.zeros(1, len(points), 1), points, [gts], [torch.tensor([0])])
    assert int((match.gt_index > 0).sum()) == 13
    assert match.iou.sum().item() == pytest.approx(13)


def test_a_point_on_the_border_of_a_box_is_not_inside() -> None:
    points = torch.tensor([[8.0, 8, 8], [16, 16, 8], [12, 8, 8], [8, 12, 8], [16, 12, 8], [12, 16, 8]])
    gts = torch.tensor([[8.0, 8, 16, 16]])
    match = assign(gts.expand(1, 6, 4), torch.zeros(1, 6, 1), points, [gts], [torch.tensor([0])])
    assert not match.gt_index.any()


@pytest.mark.parametrize("points", [0, 5])
def test_nothing_to_match_is_background(points: int) -> None:
    none = [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.long)]
    match = assign(torch.zeros(1, points, 4), torch.zeros(1, points, 2), grid()[:points], *none)
    assert match.gt_index.tolist() == [[0] * points] and match.iou.tolist() == [[0.0] * points]
    assert (match.gt_index.dtype, match.iou.dtype) == (torch.int64, torch.float32)
    some = [torch.tensor([[0.0, 0, 9, 9]])], [torch.tensor([1])]
    empty = assign(torch.zeros(1, 0, 4), torch.zeros(1, 0, 2), grid()[:0], *some)
    assert empty.gt_index.shape == (1, 0)


@pytest.mark.parametrize("objects", [1, 3])
def test_one_point_alone_learns_the_cheapest_box(objects: int) -> None:
    boxes, logits, _, _, labels = random_image(1, objects, 3)
    points = torch.tensor([[16.0, 16, 8]])
    gts = torch.tensor([[8.0, 8, 24, 24], [15, 15, 60, 60], [0, 0, 20, 17]])[:objects]
    for p in range(40):
        case = boxes[p : p + 1], logits[p : p + 1], points, gts, labels
        match = assign(case[0][None], case[1][None], points, [gts], [labels])
        assert_as_described(match, 0, *case)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("part", ["boxes", "logits", "truth"])
def test_half_precision_in_gives_float32_out_as_of_the_same_numbers(part: str, seed: int) -> None:
    boxes, logits, points, gts, labels = random_image(seed, 5, 80)
    boxes, logits, gts = boxes.half(), logits.half(), gts.half()
    expected = assign(boxes[None].float(), logits[None].float(), points, [gts.float()], [labels])
    boxes = boxes if part == "boxes" else boxes.float()
    logits = logits if part == "logits" else logits.float()
    match = assign(boxes[None], logits[None], points, [gts if part == "truth" else gts.float()], [labels])
    assert torch.equal(match.gt_index, expected.gt_index) and torch.equal(match.iou, expected.iou)
    assert match.iou.dtype == torch.float32


def test_no_overlap_costs_as_much_as_the_published_smallest_one() -> None:
    # The first point stands on the centre, but its own box overlaps nothing: -3 ln 1e-7 + softplus(0) / 4
    # = 48.5. The second one's overlaps by half (3 ln 2 = 2.1), 4.65 strides away (10^1.65 = 44.7): 46.7, so
    # it is cheaper. At 4.67 strides (10^1.67 = 46.8) it costs 48.9, and is not.
    gts, first = torch.tensor([[0.0, 0, 80, 80]]), torch.tensor([40.0, 40, 8])
    boxes = torch.tensor([[500.0, 500, 510, 510], [0, 0, 80, 40]])
    for strides, chosen in ((4.65, [0, 1]), (4.67, [1, 0])):
        points = torch.stack([first, torch.tensor([40 + 8 * strides, 40, 8])])
        match = assign(boxes[None], torch.zeros(1, 2, 1), points, [gts], [torch.tensor([0])])
        assert match.gt_index.tolist() == [chosen]
