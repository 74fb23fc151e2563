"""A toy format with one text file per image, as a module of `aerostat.datasets.formats` would define it."""

from collections import Counter
from pathlib import Path

from aerostat.datasets.clip import box_area, fit_box
from aerostat.datasets.formats.format import Format, SplitFiles, WriteOptions
from aerostat.datasets.image_folder import ImageFolder, upright_size
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, Problem, Split


def read(files: SplitFiles, options: ReadOptions) -> Split:
    """Each file has the name of its image and then ``class x1 y1 x2 y2`` in each line."""
    rows = [[line.split() for line in text.take().decode().splitlines()[1:]] for text in files.texts]
    folder = ImageFolder.choose(files.image_roots, (image[0] for image, *_ in rows))
    classes = tuple(options.classes or sorted({row[0] for _, *objects in rows for row in objects}))
    images, problems = list[ImageRecord](), list[Problem]()
    for number, ((name,), *objects) in enumerate(rows, start=1):
        file = folder.claim(name)
        size = upright_size(file, name, folder, files.split)
        if file is None or isinstance(size, Problem):
            problems += [size] if isinstance(size, Problem) else []
            continue
        fitted = [(row[0], *fit_box(tuple(map(float, row[1:])), *size)) for row in objects]
        problems += [Problem(files.split, name, kind, "a line") for _, _, kind in fitted if kind]
        found = [Instance(box, classes.index(of), area=box_area(box)) for of, box, _ in fitted if box]
        images.append(ImageRecord(folder.root / file, name, *size, tuple(found), number))
    return Split(files.split, classes, tuple(range(len(classes))), tuple(images), tuple(problems), "toy")


def write(split: Split, folder: Path, options: WriteOptions) -> Counter[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for image in split.images:
        rows = [" ".join(map(str, (split.classes[i.label], *i.box_xyxy))) for i in image.instances]
        text = "\n".join(["#toy", image.file_name, *rows])
        (folder / f"{Path(image.file_name).stem}.toy").write_text(text)
    return Counter()


def is_toy(head: bytes) -> bool:
    return head.startswith(b"#toy")


FORMAT = Format(
    "toy", "Toy", is_toy, lambda text: is_toy(text.head()), read, write, per_image=True, folders=("labels",)
)
