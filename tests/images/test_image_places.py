"""Every way in which people keep labelled images leads to the same pixels and classes."""

import csv
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worlds.tiny_task import CLASSES, tiny_images, write_images

from generator.errors import ImagesError
from generator.images.entries import PartsError
from generator.images.labelled import ImageSet
from generator.images.listing import list_images
from generator.images.reading import load_images

DATA = tiny_images(12, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", DATA)


def as_zip(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    return path


def as_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name in CLASSES:
            archive.add(folder / name, f"./{name}")
    return path


def as_web_dataset(folder: Path, suffix: str = "cls") -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        for number, file in enumerate(sorted(folder.rglob("*.png"))):
            label = CLASSES.index(file.parent.name)
            text = str(label) if suffix == "cls" else json.dumps({"label": CLASSES[label]})
            for end, content in (("png", file.read_bytes()), (suffix, text.encode())):
                member = tarfile.TarInfo(f"part/{number:05d}.{end}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def as_web_dataset_with_json(folder: Path) -> Path:
    return as_web_dataset(folder, "json")


def as_csv(folder: Path) -> Path:
    path = folder.parent / "list.csv"
    with path.open("w", newline="") as opened:
        writer = csv.writer(opened, delimiter=";")
        writer.writerow(["id", "Filename", "label"])
        for number, file in enumerate(sorted(folder.rglob("*.png"))):
            writer.writerow([number, file.relative_to(folder.parent), file.parent.name])
    return path


def as_bare_csv(folder: Path) -> Path:
    path = folder.parent / "bare.csv"
    files = sorted(folder.rglob("*.png"))
    path.write_text("".join(f"{file},{CLASSES.index(file.parent.name)}\n" for file in files))
    return path


def as_json_lines(folder: Path) -> Path:
    path = folder / "metadata.jsonl"
    files = sorted(folder.rglob("*.png"))
    rows = [
        {"file_name": str(file.relative_to(folder)), "label": file.parent.name} for file in files
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def as_parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    files = sorted(folder.rglob("*.png"))
    column = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pyarrow.table(
        {"label": [CLASSES.index(file.parent.name) for file in files], "image": column}
    )
    described = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
    path = folder.parent / "train-00000-of-00001.parquet"
    parquet.write_table(table, path, row_group_size=5)
    return path


def as_saved_data_set(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    files = sorted(folder.rglob("*.png"))
    table = pyarrow.table(
        {
            "image": [{"bytes": file.read_bytes(), "path": None} for file in files],
            "label": [CLASSES.index(file.parent.name) for file in files],
        }
    )
    path = folder.parent / "saved"
    path.mkdir()
    with pyarrow.ipc.new_stream(str(path / "data.arrow"), table.schema) as stream:
        stream.write_table(table)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    (path / "dataset_info.json").write_text(json.dumps({"features": features}))
    return path


def by_pixels(data: ImageSet) -> list[tuple[bytes, str]]:
    pairs = zip(data.images, data.labels, strict=True)
    return sorted((image.tobytes(), data.class_names[label]) for image, label in pairs)


@pytest.mark.parametrize(
    "keep",
    [
        *(as_zip, as_tar, as_web_dataset, as_web_dataset_with_json),
        *(as_csv, as_bare_csv, as_json_lines, as_parquet, as_saved_data_set),
    ],
)
def test_the_place_does_not_matter(folder: Path, keep: Callable[[Path], Path]) -> None:
    expected, _ = load_images([folder])
    found, _ = load_images([keep(folder)], class_names=CLASSES)
    assert by_pixels(found) == by_pixels(expected)


def test_class_numbers_order_the_classes_and_folders_are_sorted(folder: Path) -> None:
    assert list_images([as_bare_csv(folder)]).class_names == ("0", "1", "2")
    assert list_images([as_web_dataset_with_json(folder)]).class_names == ("blue", "green", "red")
    for name in ("2", "10"):
        write_images(folder.parent / "numbered" / name, DATA)
    # As torchvision's ImageFolder orders them, with which the owner has trained.
    numbered = list_images([folder.parent / "numbered"])
    assert numbered.class_names == CLASSES
    for name in CLASSES:
        (folder / name).rename(folder / str(2 + 4 * CLASSES.index(name)))
    assert list_images([folder]).class_names == ("10", "2", "6")


def test_the_classes_that_a_table_names_keep_its_order(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    assert list_images([as_parquet(folder)]).class_names == CLASSES
    assert list_images([folder.parent / "train"]).class_names == CLASSES


def test_litter_of_systems_is_passed_over(folder: Path) -> None:
    picture = next(folder.rglob("*.png")).read_bytes()
    for litter in (
        "__MACOSX/red/._1.png",
        "@eaDir/1.png",
        ".ipynb_checkpoints/1.png",
        "red/._2.png",
    ):
        path = folder / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    found = list_images([folder])
    assert len(found) == 12
    assert found.class_names == CLASSES


@pytest.mark.parametrize("keep", [as_zip, lambda folder: folder])
def test_what_lies_beside_the_class_folders_has_no_class(
    folder: Path, keep: Callable[[Path], Path]
) -> None:
    inner = folder / "data" / "photos"
    inner.mkdir(parents=True)
    for name in CLASSES:
        (folder / name).rename(inner / name)
    (inner / "overview.png").write_bytes(next(inner.rglob("*.png")).read_bytes())
    assert list_images([keep(folder)]).class_names == CLASSES


def test_parts_inside_a_folder_of_an_archive_are_named(folder: Path) -> None:
    inner = folder / "data"
    for part in ("train", "val"):
        write_images(inner / part, DATA)
    for name in CLASSES:
        shutil.rmtree(folder / name)
    archive = as_zip(folder)
    with pytest.raises(PartsError) as caught:
        list_images([archive])
    assert caught.value.training == archive / "data" / "train"
    assert list_images([caught.value.training]).class_names == CLASSES


def test_a_folder_that_every_class_has_is_no_class(folder: Path) -> None:
    for name in CLASSES:
        (folder / name).rename(folder / "moved")
        (folder / name).mkdir()
        (folder / "moved").rename(folder / name / "images")
    assert list_images([folder]).class_names == CLASSES


def test_parts_of_a_data_set_are_named_not_taken_for_classes(folder: Path) -> None:
    whole = folder.parent / "whole"
    for part in ("train", "val", "test"):
        write_images(whole / part, DATA)
    advice = r"--images .*whole/train --held-out .*whole/val"
    with pytest.raises(PartsError, match=rf"holds test/, train/, val/.*{advice}"):
        list_images([whole])
    with pytest.raises(PartsError, match=r"--images .*whole.zip/train"):
        list_images([as_zip(whole)])
    assert list_images([whole / "train"]).class_names == CLASSES


def test_a_class_called_train_is_a_class(folder: Path) -> None:
    (folder / "red").rename(folder / "train")
    assert list_images([folder]).class_names == ("blue", "green", "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nimages/nothing.png,red\n", r"line 2: there is no file .*nothing\.png"),
        ("name,label\nx,red\n", r"a column with the path \(path, .*got name, label"),
        ("images/red/0002.png,\n", "line 1: expected a path and a class"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(folder: Path, text: str, message: str) -> None:
    path = folder.parent / "list.csv"
    path.write_text(text)
    with pytest.raises(ImagesError, match=message):
        list_images([path])


def test_an_image_without_a_label_in_a_tar_file_is_named(folder: Path) -> None:
    path = as_web_dataset(folder)
    with tarfile.open(path, "a") as archive:
        archive.add(folder / "red" / "0002.png", "part/99999.png")
    with pytest.raises(ImagesError, match=r"a member part/99999\.cls, or part/99999\.json"):
        list_images([path])


def test_what_is_there_instead_of_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.mp4").write_bytes(b"")
    with pytest.raises(ImagesError, match=r"found none; files that are there end in \.mp4"):
        list_images([tmp_path])
    with pytest.raises(ImagesError, match="neither a folder nor a ZIP, tar"):
        list_images([tmp_path / "nowhere"])
    (tmp_path / "x.tar").write_bytes(b"no archive")
    with pytest.raises(ImagesError, match=r"x\.tar is not a tar file"):
        list_images([tmp_path / "x.tar"])


def test_numbers_beside_names_are_refused_without_an_order(folder: Path) -> None:
    both = [folder, as_bare_csv(folder)]
    with pytest.raises(
        ImagesError, match=r"class number 0 and .* the class name 'blue'; .*--classes"
    ):
        list_images(both)
    assert np.bincount(list_images(both, class_names=CLASSES).labels).tolist() == [8, 8, 8]
