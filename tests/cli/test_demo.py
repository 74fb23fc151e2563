"""The verb `demo`."""

from pathlib import Path


def test_demo_refuses_a_folder_with_anything_in_it(aerostat, working_folder, assert_refused, tree):
    Path("full").mkdir()
    Path("full/notes.txt").write_text("precious")
    assert_refused(aerostat("demo", "--out", "full"), "full exists")
    assert tree(working_folder) == {"full": None, "full/notes.txt": b"precious"}
