"""One resolver of image names: what it finds, what it says, and what it never does."""

from pathlib import Path

import pytest

from aerostat.datasets.image_folder import ImageFolder, spellings
from aerostat.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.jpg", "day1/b.jpg", "day2/c.JPG", "day1/d.jpg", "day2/d.jpg", "my cell.jpg", "e.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "outside.jpg").write_bytes(b"")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("day1/b.jpg", "day1/b.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("b.jpg", "day1/b.jpg"),
        ("train/day1/d.jpg", "day1/d.jpg"),
        ("/home/somebody/photos/day2/d.jpg", "day2/d.jpg"),
        ("C:\\data\\day2\\d.jpg", "day2/d.jpg"),
        ("d.jpg", None),
        ("other/d.jpg", None),
        ("c.jpg", "day2/c.JPG"),
        ("DAY2/C.jpg", "day2/c.JPG"),
        ("a", "a.jpg"),
        ("d", None),
        ("my%20cell.jpg", "my cell.jpg"),
        ("https://host/bucket/a.jpg?raw=true#top", "a.jpg"),
        ("/data/local-files/?d=day1/b.jpg", "day1/b.jpg"),
        ("/data/upload/1/0123abcd-a.jpg", "a.jpg"),
        ("s3://bucket/day2/d.jpg", "day2/d.jpg"),
        ("../outside.jpg", None),
        ("..%2Foutside.jpg", None),
        ("/etc/passwd", None),
        ("e.jpg", None),
        ("", None),
        ("day1", None),
    ],
)
def test_a_name_finds_the_only_file_that_it_can_mean(root: Path, name: str, found: str | None) -> None:
    assert ImageFolder(root).find(name) == found


def test_an_image_of_another_split_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/001.jpg").write_bytes(b"")
    folder = ImageFolder(tmp_path)
    assert folder.find("val/001.jpg") is None
    assert folder.find("001.jpg") == folder.find("data/Train/001.jpg") == "train/001.jpg"


def test_a_file_whose_name_has_the_letters_of_a_url_comes_first(root: Path) -> None:
    (root / "my%20cell.jpg").write_bytes(b"")
    assert ImageFolder(root).find("my%20cell.jpg") == "my%20cell.jpg"


def test_what_was_found_under_another_name_is_said_once(root: Path) -> None:
    folder = ImageFolder(root)
    assert folder.claim("a.jpg") == "a.jpg"
    assert folder.note("train") == []
    assert folder.claim("b.jpg") == "day1/b.jpg"
    assert folder.claim("c.jpg") == "day2/c.JPG"
    (note,) = folder.note("train")
    assert note.kind == "other name"
    assert note.detail.startswith("2 images found under another name, first 'b.jpg' as 'day1/b.jpg' in ")


def test_two_names_for_one_file_are_refused(root: Path) -> None:
    folder = ImageFolder(root)
    folder.claim("day1/b.jpg")
    with pytest.raises(InputError, match=r"'day1/b\.jpg' and 'b\.jpg', which both mean"):
        folder.claim("b.jpg")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("e.jpg", "'e.png' is there"), ("my celll.jpg", "'my cell.jpg' is there"), ("x/unlike.jpg", "")],
)
def test_the_nearest_file_is_named(root: Path, name: str, hint: str) -> None:
    clause = ImageFolder(root).missing(name)
    assert clause.startswith(f"not found in {root}")
    assert clause.endswith(hint)


def test_of_many_missing_images_the_first_get_a_hint(root: Path) -> None:
    folder = ImageFolder(root)
    hints = [folder.missing("e.jpg") for _ in range(30)]
    assert "is there" in hints[0] and "is there" not in hints[-1]


def test_the_folder_that_has_the_images_is_chosen(root: Path) -> None:
    assert ImageFolder.choose([root.parent, root], ["a.jpg"]).root == root
    assert ImageFolder.choose([root / "day1", root], ["nowhere/c.jpg"]).root == root
    assert ImageFolder.choose([root / "day1", root], ["missing.jpg"]).root == root / "day1"


def test_spellings_of_a_plain_name_are_none() -> None:
    assert spellings("a.jpg") == []
    assert spellings("upload/1/0123abcd-a b.jpg") == ["upload/1/a b.jpg"]


def test_the_folder_that_has_the_names_with_their_folders_is_chosen(root: Path) -> None:
    names = ["day1/d.jpg", "day2/d.jpg"]
    assert ImageFolder.choose([root / "day1", root], names).root == root
    assert ImageFolder.choose([root / "day1", root], ["x/d.jpg", "x/b.jpg"]).root == root / "day1"


def test_of_many_files_of_one_name_the_folders_decide(tmp_path: Path) -> None:
    places = [f"{clip}/{part}/image.jpg" for clip in ("one", "two", "Three") for part in range(3)]
    for place in (*places, "image.jpg.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    folder = ImageFolder(tmp_path)
    for place in places:
        assert folder.find(f"gone/{place}") == place
        assert folder.find(f"gone/{place.upper()}") == place
    assert folder.find("gone/four/1/image.jpg") is None
    assert folder.find("gone/two/4/image.jpg") is None
    assert folder.find("1/image.jpg") is None
