"""Feature maps: where they lie on the photograph, what is made of their channels, what is written."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aerostat as ae
from aerostat.__main__ import main
from aerostat.draw.saving import save_image
from aerostat.errors import AerostatError, InputError
from aerostat.explanation.features import content_cells, feature_maps
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import SIZES, build
from aerostat.results.detections import Detections
from aerostat.weights.checkpoint import Header, save_weights

LANDSCAPE, PORTRAIT = (1024, 768), (768, 1024)  # width, height


class Gives(nn.Module):
    """Gives a fixed map (C, h, w) in place of what a layer would."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, _: Tensor) -> Tensor:
        return self.values[None]


def giving(values: np.ndarray | Tensor, side: int = 640, level: int = 2) -> Detector:
    """Return a detector whose `neck.out_convs[level]` gives (C, h, w) values in front of its 64 channels."""
    net = build("nano", 1).eval()
    values = torch.as_tensor(values, dtype=torch.float32)
    net.neck.out_convs[level] = nn.Sequential(Gives(values), ToChannels(64))
    return Detector(TorchEngine(net), ("thing",), (side, side))


class ToChannels(nn.Module):
    """Repeats channels for the head, so that the layer before may have any number."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1].expand(-1, self.count, -1, -1).contiguous()


def layer(level: int = 2) -> str:
    return f"neck.out_convs[{level}][0]"


def blank(size: tuple[int, int], value: int = 90) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return Detector(TorchEngine(build("nano", 1).eval()), ("thing",), (96, 96))


# ------------------------------------------------------------------ where maps lie


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, (640, 640), (1000, 300)])
@pytest.mark.parametrize(("level", "stride"), [(0, 8), (1, 16), (2, 32)])
def test_a_lit_cell_lights_its_place_on_the_photograph(
    size: tuple[int, int], level: int, stride: int
) -> None:
    across, along = min(size) * 640 // max(size) // stride - 2, 15 * 32 // stride  # cells
    row, column = (across, along) if size[0] >= size[1] else (along, across)
    values = np.zeros((1, 640 // stride, 640 // stride), np.float32)
    values[0, row, column] = 3
    maps = feature_maps(giving(values, level=level), blank(size), layer(level))
    heat = maps.maps[0].planes[0].heat(maps.letterbox)
    assert heat.shape == (size[1], size[0])
    scale = 640 / max(size)
    expected = ((column * stride + 0.5) / scale, (row * stride + 0.5) / scale)  # the cell's first pixel
    brightest = np.argwhere(heat == heat.max())[:, ::-1] + 0.5
    np.testing.assert_allclose(brightest.mean(axis=0), expected, atol=max(1.0, 0.5 / scale + 0.5))
    reach = stride / scale + 1  # linear interpolation ends at the next cells' first pixels
    lit = np.argwhere(heat > 0)[:, ::-1] + 0.5
    assert np.abs(lit - expected).max() <= reach


def brightness_detector(size: str = "nano") -> Detector:
    """Return a detector whose first layer sees brightness alone: its stem's first channel grows with it."""
    net = build(size, 1).eval()
    with torch.no_grad():
        convolution = net.get_submodule("backbone.stem.0.conv")
        convolution.weight.zero_()
        convolution.weight[0, :, 1, 1] = 1.0
    return Detector(TorchEngine(net), ("disc",), (640, 640))


@pytest.mark.parametrize(
    ("size", "centre"),
    [(LANDSCAPE, (300, 700)), (PORTRAIT, (700, 300)), (LANDSCAPE, (980, 60)), (PORTRAIT, (60, 980))],
)
def test_a_disc_lights_up_where_it_is_drawn_in_the_picture(
    size: tuple[int, int], centre: tuple[int, int], tmp_path: Path
) -> None:
    """Stretched over the photograph with its padding, a disc at y = 700 would light up at y = 525."""
    photograph = cv2.circle(blank(size, 60), centre, 40, (255, 255, 255), -1)
    maps = feature_maps(brightness_detector(), photograph, "backbone.stem[0]")
    heat = maps.maps[0].planes[0].heat(maps.letterbox)
    assert_centred(heat > 0.5, centre)
    picture = cv2.imread(str(maps.save(tmp_path)[0]))
    shown = picture[: size[1], : size[0]].astype(int)
    assert_centred(shown.max(axis=2) - shown.min(axis=2) > 40, centre)  # the photograph itself is grey


def assert_centred(lit: np.ndarray, centre: tuple[int, int]) -> None:
    middle = np.argwhere(lit)[:, ::-1].mean(axis=0) + 0.5
    assert np.abs(middle - centre).max() < 4  # a cell is 3.2 pixels of the photograph wide
    assert abs(np.sqrt(lit.sum() / np.pi) - 40) < 4  # and it is as large as it was drawn


def test_padding_neither_shows_nor_dims_what_lies_on_the_photograph() -> None:
    values = np.zeros((2, 20, 20), np.float32)
    values[:, 15:] = 1000.0  # below the 480 rows of a landscape photograph
    values[1, 15:] = -1000.0
    values[0, 4, 7] = 2.0
    for options in ({}, {"reduce": "select_max"}, {"reduce": "pca"}, {"topk": 1}):
        maps = feature_maps(giving(values), blank(LANDSCAPE), layer(), **options)
        plane = maps.maps[0].planes[0]
        assert plane.channel in (None, 0)
        heat = plane.heat(maps.letterbox)
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert abs(column - 7 * 32 * 1.6) <= 1 and abs(row - 4 * 32 * 1.6) <= 1, options
        assert heat[row, column] > 0.98 and heat[700:].max() == 0, options


def test_the_cells_on_the_photograph_are_those_it_touches() -> None:
    rows, columns = content_cells(Letterbox((100, 70), (640, 640), (640, 448), 0, 96), (20, 20))
    assert (rows, columns) == (slice(3, 17), slice(0, 20))
    rows, columns = content_cells(Letterbox((1000, 90), (640, 640), (640, 58)), (20, 20))
    assert (rows, columns) == (slice(0, 2), slice(0, 20))
    rows, _ = content_cells(Letterbox((10000, 1), (640, 640), (640, 1)), (20, 20))
    assert rows == slice(0, 1)


# ------------------------------------------------------------------ what is made of the channels


def test_the_mean_is_over_the_channels_and_its_range_over_the_photograph() -> None:
    values = np.arange(3 * 400, dtype=np.float32).reshape(3, 20, 20)
    plane = feature_maps(giving(values), blank((640, 640)), layer()).maps[0].planes[0]
    np.testing.assert_allclose(plane.values, np.arange(400, 800).reshape(20, 20))
    assert (plane.low, plane.high, plane.title) == (400, 799, "mean of 3 channels")


def test_select_max_and_topk_go_by_the_sum_over_the_photograph() -> None:
    sums = [5.0, 1.0, 7.0, -9.0, 6.0]
    values = np.zeros((5, 20, 20), np.float32)
    values[:, 2, 3] = sums
    values[3, 18, 3] = 100.0  # below the photograph
    strongest = feature_maps(giving(values), blank(LANDSCAPE), layer(), reduce="select_max").maps[0]
    assert [p.channel for p in strongest.planes] == [2]
    assert strongest.title == "channel 2 of 5, the one with the largest sum"
    several = feature_maps(giving(values), blank(LANDSCAPE), layer(), topk=4)
    assert [p.channel for p in several.maps[0].planes] == [2, 4, 0, 1]
    assert [p.high for p in several.maps[0].planes] == [7, 6, 5, 1]
    assert several.arrange == (2, 2)


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("channels", [3, 500])  # fewer and more than cells
def test_the_principal_component_is_the_pattern_that_all_channels_share(turned: int, channels: int) -> None:
    random = np.random.default_rng(1)
    pattern = np.zeros((20, 20))
    pattern[5:9, 6:12] = 1.0
    direction = random.normal(size=channels)
    values = turned * direction[:, None, None] * pattern + 0.02 * random.normal(size=(channels, 20, 20))
    feature_map = feature_maps(giving(values), blank((640, 640)), layer(), reduce="pca").maps[0]
    component = feature_map.planes[0].values
    assert np.corrcoef(component.ravel(), pattern.ravel())[0, 1] > 0.99  # bright on the object, either way
    again = feature_maps(giving(values), blank((640, 640)), layer(), reduce="pca").maps[0]
    assert (again.planes[0].values == component).all()


def test_the_principal_component_of_a_hand_worked_map() -> None:
    """Cells on a line through (1, 2) in the direction (3, 4) / 5, at -1, 0, 0 and 1 times 5."""
    values = np.array([[[4.0, 1.0], [1.0, -2.0]], [[6.0, 2.0], [2.0, -2.0]]], np.float32)
    feature_map = feature_maps(giving(values, side=64), blank((64, 64)), layer(), reduce="pca").maps[0]
    np.testing.assert_allclose(feature_map.planes[0].values, [[5, 0], [0, -5]], atol=1e-5)
    assert feature_map.title == "first principal component of 2 channels, 100% of their variance"


@pytest.mark.parametrize("options", [{}, {"reduce": "pca"}, {"reduce": "select_max"}, {"topk": 3}])
def test_a_map_that_is_the_same_everywhere_has_no_heat_and_says_so(options: dict) -> None:
    maps = feature_maps(giving(np.full((3, 20, 20), 0.25)), blank(LANDSCAPE), layer(), **options)
    plane = maps.maps[0].planes[0]
    assert not plane.heat(maps.letterbox).any()
    picture = maps.draw_map(maps.maps[0]).image_bgr
    assert picture.shape[0] > LANDSCAPE[1] * picture.shape[1] / LANDSCAPE[0] - 1


@pytest.mark.parametrize(
    ("topk", "arrange", "expected"),
    [(4, None, (2, 2)), (1, None, (1, 1)), (3, None, (2, 2)), (6, None, (2, 3)), (3, (1, 4), (1, 4))],
)
def test_channels_are_arranged_as_asked_or_as_square_as_can_be(topk, arrange, expected) -> None:
    detector = giving(np.random.default_rng(0).normal(size=(9, 20, 20)))
    maps = feature_maps(detector, blank(LANDSCAPE), layer(), topk=topk, arrange=arrange)
    assert maps.arrange == expected
    assert maps.draw_map(maps.maps[0]).image_bgr.shape[1] <= 2100
    assert maps.draw().image_bgr.size


# ------------------------------------------------------------------ layers and networks


@pytest.mark.parametrize("size", SIZES)
def test_every_size_gives_the_default_layers(size: str) -> None:
    maps = feature_maps(Detector(TorchEngine(build(size, 1).eval()), ("a",), (64, 64)), blank((50, 40)))
    assert [(m.layer, m.stride) for m in maps] == [
        (name, stride) for name in ("backbone", "neck") for stride in (8, 16, 32)
    ]
    assert maps.draw().image_bgr.ndim == 3


def test_the_whole_head_gives_classes_and_distances_apart(detector: Detector) -> None:
    maps = feature_maps(detector, blank((60, 80)), ["bbox_head", "neck.out_convs.1", "neck.out_convs[1]"])
    assert [m.key for m in maps] == [
        *(f"bbox_head/{part}/stride{stride}" for part in ("cls", "reg") for stride in (8, 16, 32)),
        "neck.out_convs[1]",
    ]
    assert maps.maps[0].title == "its only channel"


def test_a_shared_convolution_gives_a_map_for_each_level_and_says_so() -> None:
    detector = Detector(TorchEngine(build("tiny", 1).eval()), ("a",), (64, 64))
    maps = feature_maps(detector, blank((64, 64)), "bbox_head.cls_convs[1][0].conv")
    assert [m.stride for m in maps] == [8, 16, 32]
    assert maps.shared == ("bbox_head.cls_convs[1][0].conv",)
    assert maps.remarks() == [
        "bbox_head.cls_convs[1][0].conv is shared by several levels, which have a picture each"
    ]
    assert feature_maps(detector, blank((64, 64)), "bbox_head.cls_convs[1][0]").remarks() == []


def test_a_photograph_that_is_drawn_smaller_is_said_to_be(detector: Detector) -> None:
    maps = feature_maps(detector, blank((2400, 60)), "backbone.stage4")
    assert maps.remarks() == ["the photograph of 2400 x 60 px is drawn smaller, its longer side 2048 px"]
    assert maps.draw_map(maps.maps[0]).image_bgr.shape[1] == 2048


@pytest.mark.parametrize("frozen", [True, False])
def test_a_network_in_training_gives_the_maps_of_evaluation_and_stays_as_it_was(frozen: bool) -> None:
    net = build("nano", 1).train()
    net.backbone.requires_grad_(not frozen)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    training = feature_maps(Detector(TorchEngine(net), ("a",), (64, 64)), image, detections=True, score=0.0)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    evaluating = feature_maps(Detector(TorchEngine(net.eval()), ("a",), (64, 64)), image)
    for one, other in zip(training, evaluating, strict=True):
        assert (one.activation == other.activation).all()


def test_activations_are_those_of_a_plain_forward_pass(detector: Detector) -> None:
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    tensor = torch.from_numpy(((image - mean) / std).transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        expected = detector.net.neck(detector.net.backbone(tensor))
    for found, level in zip(feature_maps(detector, image, "neck"), expected, strict=True):
        np.testing.assert_allclose(found.activation, level[0].numpy(), atol=1e-5)


def test_weights_that_diverged_are_a_failure_of_the_work() -> None:
    with pytest.raises(AerostatError, match="not numbers"):
        feature_maps(giving(np.full((2, 20, 20), np.nan)), blank(LANDSCAPE), layer())


def test_the_public_name_is_the_function() -> None:
    assert ae.feature_maps is feature_maps


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": "nekc"}, "no layer 'nekc'.*neck"),
        ({"layers": []}, "at least one layer"),
        ({"layers": ["neck", "neck.out_convs"]}, r"choose from neck\.out_convs\[0\]"),
        ({"layers": "backbone.stage1[1].attention.fc"}, "no place in the image"),
        ({"reduce": "squeeze_men"}, "Did you mean 'squeeze_mean'"),
        ({"reduce": "overlap"}, r"squeeze_mean, select_max, pca"),
        ({"topk": 0}, "at least 1, found 0"),
        ({"topk": 65, "layers": "neck"}, "found 65 for neck at stride 8, which has 64"),
        ({"topk": 2, "layers": "bbox_head"}, "for bbox_head cls at stride 8, which has 1"),
        ({"topk": 5, "arrange": (2, 2)}, "room for 5 channels, found 2 x 2"),
        ({"topk": 1, "arrange": (0, 2)}, "found 0 x 2"),
        ({"arrange": (2, 2)}, "choose their number with `topk`"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(detector: Detector, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        feature_maps(detector, blank((60, 40)), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)]
)
def test_an_array_that_is_no_image_is_refused(detector: Detector, image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(H, W, 3\) of uint8"):
        feature_maps(detector, image)


# ------------------------------------------------------------------ pictures and arrays


def test_the_arrays_and_the_letterbox_can_be_read_back(detector: Detector, tmp_path: Path) -> None:
    maps = feature_maps(detector, blank((120, 80)), ["neck", "backbone.stage4"])
    path = maps.save(tmp_path, arrays=True)[-1]
    with np.load(path, allow_pickle=False) as content:
        assert sorted(content.files) == [
            *("backbone.stage4", "letterbox", "neck/stride16", "neck/stride32", "neck/stride8")
        ]
        assert content["neck/stride8"].dtype == np.float32 and content["neck/stride8"].shape == (64, 12, 12)
        assert (content["backbone.stage4"] == maps.maps[3].activation).all()
        assert Letterbox.from_dict(json.loads(str(content["letterbox"]))) == maps.letterbox


def test_file_names_tell_the_layers_apart_and_are_taken_everywhere(
    detector: Detector, tmp_path: Path
) -> None:
    photograph = save_image(tmp_path / "a: 名前*.png", blank((70, 50)))
    names = ["bbox_head", "bbox_head.cls_convs[0][1]", "neck.out_convs[0]", "neck.out_convs[1]", "neck"]
    maps = feature_maps(detector, photograph, names)
    written = [path.name for path in maps.save(tmp_path / "out")]
    assert written[6:9] == [
        f"a_ 名前_-{name}.jpg" for name in ("bbox_head.cls_convs-0-1", "neck.out_convs-0", "neck.out_convs-1")
    ]
    assert written[9:12] == [f"a_ 名前_-neck-stride{stride}.jpg" for stride in ("08", "16", "32")]
    assert len({name.lower() for name in written}) == len(maps) + 1
    assert not set('<>:"/\\|?*[]') & set("".join(written))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(written)


def test_a_photograph_with_the_longest_name_is_drawn(detector: Detector, tmp_path: Path) -> None:
    photograph = save_image(tmp_path / f"{'名' * 80}.png", blank((70, 50)))
    assert all(path.is_file() for path in feature_maps(detector, photograph).save(tmp_path / "out"))


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (100, 70), (5000, 40)])
def test_photographs_of_all_sizes_are_drawn_large_enough_to_look_at(
    detector: Detector, size: tuple[int, int]
) -> None:
    maps = feature_maps(detector, blank(size), detections=True, score=0.0)
    picture = maps.draw_map(maps.maps[0]).image_bgr
    assert max(picture.shape) >= 480 and picture.shape[1] <= 2048
    assert maps.draw().image_bgr.size


def test_detections_are_drawn_over_the_maps_at_their_place() -> None:
    plain = feature_maps(giving(np.zeros((1, 20, 20))), blank((320, 240), 30), layer())
    box = np.array([[100.0, 80.0, 200.0, 160.0]])
    found = Detections(box, np.array([0.9]), np.array([0]), ("thing",))
    maps = replace(plain, detections=found)
    drawn, bare = maps.draw_map(maps.maps[0]).image_bgr, plain.draw_map(plain.maps[0]).image_bgr
    changed = np.argwhere((drawn != bare).any(axis=2))[:, ::-1]  # drawn 480 pixels wide, so 1.5 times
    assert np.abs(changed[changed[:, 1] > 125].max(axis=0) - (300, 240)).max() <= 3
    assert np.abs(changed.min(axis=0)[0] - 150) <= 3
    sheet = np.argwhere((maps.draw().image_bgr != plain.draw().image_bgr).any(axis=2))
    assert np.abs(np.ptp(sheet, axis=0) - (80 * 420 / 320, 100 * 420 / 320)).max() <= 6


def test_detections_are_those_of_prediction() -> None:
    torch.manual_seed(0)
    net = build("nano", 1).eval()
    with torch.no_grad():
        for classes, distances in zip(net.bbox_head.rtm_cls, net.bbox_head.rtm_reg, strict=True):
            classes.bias.fill_(1.0)
            distances.bias.fill_(1.5)
    detector = Detector(TorchEngine(net), ("thing",), (96, 96))
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3)).astype(np.uint8)
    assert feature_maps(detector, image).detections is None
    found = feature_maps(detector, image, detections=True, score=0.5).detections
    assert found is not None and len(found) and found == detector.predict(image, score=0.5)


def test_a_huge_photograph_needs_little_more_memory_than_itself(detector: Detector, tmp_path: Path) -> None:
    photograph = blank((8000, 6000))
    tracemalloc.start()
    maps = feature_maps(detector, photograph, topk=4)
    maps.save(tmp_path, arrays=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6  # one float map of the photograph's size would be 192 MB


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    torch.manual_seed(0)
    save_weights(path, build("nano", 1).state_dict(), Header("nano", ("disc",), input_size=(96, 96)))
    return str(path)


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    return str(save_image(tmp_path / "party.png", blank((120, 80))))


def test_the_command_writes_the_pictures_and_says_which(weights, photograph, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["features", weights, photograph, "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["backbone", "stride", "8", "mean", "of", "64", "channels"]
    assert f"wrote 6 pictures to {out}" in printed
    assert f"wrote {out / 'party-features.jpg'}" in printed
    assert len(list(out.iterdir())) == 7


def test_the_command_prints_one_json_document(weights, photograph, tmp_path, capsys) -> None:
    arguments = ["--layers", "neck.out_convs[2]", "--topk", "2", "--arrange", "1", "2", "--save", "npz"]
    extra = ["--detections", "--score", "0.5", "--out", str(tmp_path / "out"), "--json"]
    assert main(["features", weights, photograph, *arguments, *extra]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["maps"][0]["layer"] == "neck.out_convs[2]"
    assert [len(document["maps"]), len(document["maps"][0]["planes"])] == [1, 2]
    assert document["detections"] == []
    assert all(Path(name).is_file() for name in document["files"]) and len(document["files"]) == 3


def test_the_list_of_layers_needs_no_photograph(weights, capsys) -> None:
    assert main(["features", weights, "--layers", "list"]) == 0
    assert "neck.out_convs[2]" in capsys.readouterr().out
    assert main(["features", weights, "--layers", "list", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert {"name": "neck", "type": "CSPNeXtPAFPN", "channels": [64] * 3, "strides": [8, 16, 32]} in layers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["W"], "IMAGE is missing"),
        (["W", "nothing.jpg"], "found nothing: nothing.jpg"),
        (["W", "."], "found a folder"),
        (["W", "text.jpg"], "found a text"),
        (["W", "cut.jpg"], "whose end is missing"),
        ([".", "party.png"], "is no run with weights"),
        (["no.pth", "party.png"], "no weights file"),
        (["W", "party.png", "--layers", "backbone.stage9"], "no layer 'backbone.stage9'"),
        (["W", "party.png", "--layers", "list", "neck"], "no layer 'list'"),
        (["W", "party.png", "--reduce", "max"], "--reduce"),
        (["W", "party.png", "--reduce", "pca", "--topk", "2"], "--reduce would change nothing"),
        (["W", "party.png", "--topk", "70"], "which has 64"),
        (["W", "party.png", "--topk", "5", "--arrange", "2", "2"], "room for 5 channels"),
        (["W", "party.png", "--score", "0.5"], "--score would change nothing"),
        (["W", "party.png", "--detections", "--score", "2"], "score in"),
        (["W", "party.png", "--out", "text.jpg"], "text.jpg is a file"),
        (["W", "party.png", "--save", "json"], "--save"),
        (["W", "party.png", "--input-size", "33"], "multiple of 32"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    weights, photograph, tmp_path, monkeypatch, capsys, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.jpg").write_text("no image")
    Path("cut.jpg").write_bytes(cv2.imencode(".jpg", blank((90, 90)))[1].tobytes()[:-40])
    before = sorted(tmp_path.rglob("*"))
    assert main(["features", *(weights if word == "W" else word for word in arguments)]) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and not told.out
    assert sorted(tmp_path.rglob("*")) == before


def test_balloons_light_up_in_the_class_map_of_the_person_detector(balloon, person_weights) -> None:
    """Trained weights on a real photograph: the strongest class cell lies in the best detection's box."""
    detector = ae.load(person_weights)
    for name in ("3825919971_93fb1ec581_b.jpg", "16335852991_f55de7958d_k.jpg"):
        maps = feature_maps(detector, balloon / "val" / name, "bbox_head", detections=True)
        assert maps.detections is not None and len(maps.detections)
        x1, y1, x2, y2 = maps.detections.boxes_xyxy[0]
        best = max((m for m in maps if m.part == "cls"), key=lambda m: m.planes[0].high)
        heat = best.planes[0].heat(maps.letterbox)
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert x1 <= x <= x2 and y1 <= y <= y2
