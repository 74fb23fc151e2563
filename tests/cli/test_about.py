"""The verbs `models` and `doctor`."""

from importlib import metadata


def test_models_lists_the_zoo_in_80_columns_and_as_json(aerostat, tmp_path):
    listed = aerostat("models")
    rows = aerostat("models", "--json").document
    assert (listed.code, listed.err) == (0, "")
    table = listed.out.splitlines()[1 : 1 + len(rows)]
    assert [line.split()[0] for line in table] == [row["name"] for row in rows]
    assert max(map(len, table)) <= 80
    assert str(tmp_path / "home") in listed.out
    tiny = next(row for row in rows if row["name"] == "rtmdet-tiny")
    assert tiny["url"].startswith("https://download.openmmlab.com/")
    assert tiny["url"].endswith(f"-{tiny['sha256_prefix']}.pth")
    assert (tiny["box_ap"], tiny["here"]) == (41.1, False)


def test_doctor_names_the_versions(aerostat):
    assert aerostat("doctor").document["packages"]["torch"] == metadata.version("torch")
