"""No command writes raw what somebody else has named: files, folders, models, classes, errors."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.hostile_names import ALL, KINDS, steering
from worlds.many_commands import run_many
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    audited_contents,
    copy_rule,
    innocent_rule,
)
from worlds.screens.ui_desk import answering_model
from worlds.servers.vendor_server import Vendor, vendor

import kinprint
from audit.bundle.bundle_file import write_bundle
from audit.signing.keys import write_key_pair


@cache
def leaves() -> dict[tuple[str, ...], click.Command]:
    """Return all commands that can be run, those of groups too."""
    context = click.Context(kinprint.cli)
    found: dict[tuple[str, ...], click.Command] = {}
    for name in kinprint._COMMANDS:
        command = kinprint.cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {(name, inner): each for inner, each in command.commands.items()}
        else:
            found[(name,)] = command
    return found


def with_each_parameter(path: str) -> Iterator[list[str]]:
    """Yield each command with each of its parameters set to a path, and what else it needs too."""
    for names, command in leaves().items():
        if not command.context_settings.get("ignore_unknown_options"):
            yield [*names, f"--{path}"]
        yield [*names, path, path, path]
        needed = [each for each in command.params if each.required]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.is_flag:
                continue  # takes nothing
            given = [*(each for each in needed if each is not parameter), parameter]
            yield [*names, *(text for each in given for text in _set(each, path))]


def _set(parameter: click.Parameter, path: str) -> list[str]:
    return [parameter.opts[0], path] if isinstance(parameter, click.Option) else [path]


def assert_printable(lines: list[list[str]], done: list[tuple[int, str]]) -> None:
    assert len(done) == len(lines)
    for line, (status, output) in zip(lines, done, strict=True):
        assert not steering(output), (line, output)
        assert "error: unexpected" not in output, (line, output)
        assert status != 1, (line, output)


@pytest.mark.parametrize("on_terminal", [False, True], ids=["pipe", "terminal"])
def test_no_command_writes_a_wrong_argument_raw(tmp_path: Path, on_terminal: bool) -> None:
    path = tmp_path / ALL / f"{ALL}.kinprint"
    path.parent.mkdir()
    path.write_bytes(b"nothing that anybody reads")
    lines = list(with_each_parameter(str(path)))
    assert_printable(lines, run_many(lines, tmp_path, on_terminal=on_terminal))


@pytest.mark.parametrize("on_terminal", [False, True], ids=["pipe", "terminal"])
def test_no_kind_of_name_is_written_raw_in_an_error(tmp_path: Path, on_terminal: bool) -> None:
    lines = [["--debug", "inspect", str(tmp_path / "none")]]
    for name in KINDS.values():
        (tmp_path / name).write_bytes(b"no bundle")
        path = str(tmp_path / name)
        lines += [[name], ["audit", path], ["inspect", path], ["inspect", f"{path} not there"]]
        lines += [["keygen", path], ["record", "list", "--journal", f"{path}.sqlite"]]
        lines += [["--debug", "inspect", path]]
    done = run_many(lines, tmp_path, on_terminal=on_terminal)
    assert len(done) == len(lines)
    for line, (_, output) in zip(lines, done, strict=True):
        assert not steering(output), (line, output)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder in which everything has such a name."""

    folder: Path
    server: Vendor

    def file(self, suffix: str) -> str:
        return str(self.folder / f"{ALL}{suffix}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / ALL
    (folder / "models" / ALL).mkdir(parents=True)
    bundle = audited_contents()
    task = bundle.manifest.task
    names = tuple(f"{ALL}{name}" for name in task.class_names)
    manifest = bundle.manifest.model_copy(
        update={
            "model_name": ALL,
            "owner": ALL,
            "task": task.model_copy(update={"class_names": names}),
        }
    )
    write_bundle(folder / f"{ALL}.kinprint", manifest, bundle.arrays, OWNER_KEY)
    for kind, key in (("owner", OWNER_KEY), ("auditor", AUDITOR_KEY)):
        write_key_pair(folder / f"{ALL}{kind}.key", key, None)
    for suffix, rule in ((".onnx", copy_rule), ("2.onnx", innocent_rule)):
        model = answering_model(rule)
        model.producer_name = model.doc_string = f"{ALL}{suffix}"
        model.metadata_props.add(key="names", value=json.dumps(list(names)))
        (folder / "models" / ALL / f"{ALL}{suffix}").write_bytes(model.SerializeToString())
    (folder / "models" / f"{ALL}no.onnx").write_bytes(ALL.encode())
    with vendor(bundle, copy_rule) as server:
        server.class_names = names
        server.endpoint_file(folder / "models" / f"{ALL}.toml")
        yield Place(folder=folder, server=server)


def everything(place: Place) -> list[list[str]]:
    """Return command lines that do what each command is for."""
    file, models = place.file, place.folder / "models"
    bundle, owner, auditor = file(".kinprint"), file("owner.key"), file("auditor.key")
    trust = ["--trust", file("owner.pub"), "--trust", file("auditor.pub")]
    onnx, other = (str(models / ALL / f"{ALL}{suffix}") for suffix in (".onnx", "2.onnx"))
    broken, endpoint = str(models / f"{ALL}no.onnx"), str(models / f"{ALL}.toml")
    record, journal = file(".kinrecord"), ["--journal", file(".sqlite")]
    signed = ["--record", record, "--auditor-key", auditor]
    asked = ["audit", bundle, "--trust", file("owner.pub"), "--device", "cpu", *journal]
    return [
        ["keygen", file("new.key")],
        ["trust", "add", file("owner.pub")],
        ["trust", "list"],
        ["trust", "remove", ALL],
        ["inspect", bundle, *trust, "--images", file(".png")],
        ["inspect", bundle, "--json"],
        ["inspect", bundle],
        ["commit", bundle, "--key", owner],
        ["probe", "--onnx", onnx, "--device", "cpu"],
        ["probe", "--onnx", onnx, "--bundle", bundle, *trust, "--out", file(".toml"), "--json"],
        [*asked, "--onnx", onnx, *signed],
        [*asked, "--onnx", other, "--onnx", broken, "--suspect", file(".toml"), "--json",
         "--junit", file(".xml"), "--infer-classes"],
        [*asked, "--onnx", other, "--onnx", broken],
        [*asked, "--onnx", broken],
        [*asked, "--endpoint", endpoint],
        ["record", "list", *journal],
        ["record", "list", *journal, "--json"],
        ["record", "export", "", file("2.kinrecord"), "--auditor-key", auditor, *journal],
        ["record", "attest", record, file(".intoto.json"), "--auditor-key", auditor],
        ["record", "show", "x", *journal],
        ["record", "delete", "x", *journal],
        ["verify", record, "--bundle", bundle, *trust, "--onnx", onnx],
        ["verify", record, "--bundle", bundle, *trust, "--onnx", other, "--json"],
        ["verify", bundle, "--bundle", bundle, *trust],
        *(["report", record, "--bundle", bundle, *trust, "--format", form]
          for form in ("html", "md", "json", "junit")),
        ["report", record, *trust, "-o", file(".html")],
        ["record", "diff", record, record, "--bundle", bundle, *trust],
        ["record", "timeline", str(place.folder), "--bundle", bundle, *trust, "-o", file("t.html")],
        ["bundle", "diff", bundle, str(GOLDEN_BUNDLE), *trust],
        ["endpoint", "new", "generic", "--bundle", bundle, *trust],
        ["endpoint", "new", "vertex", "--bundle", bundle, *trust, "-o", file("new.toml")],
        ["endpoint", "check", endpoint, "--bundle", bundle, *trust, "--infer-classes"],
        ["endpoint", "check", endpoint, "--bundle", bundle, *trust, "--json"],
        ["sweep", "--bundles", bundle, *trust, "--suspects", str(models), "-o", file("swept"),
         "--device", "cpu", "--jobs", "1", "--endpoint", endpoint],
        ["sweep", "--bundles", bundle, *trust, "--suspects", str(models), "-o", file("swept"),
         "--device", "cpu", "--jobs", "1", "--json", "--retry-failed"],
        ["calibrate", bundle, "--innocent", str(models), "--key", owner, "--out", file("c")],
        ["challenge", bundle, "--onnx", str(models), *trust],
        ["challenge", bundle, "--onnx", str(models), *trust, "--json"],
        ["demo", "--out", bundle],
        ["craft", "--model", f"{onnx}:x", "--images", file("none"), "--key", owner],
        ["references", "--model", other, "--normalise", "0/1", "--images", bundle, "--out", bundle],
        ["export-onnx", "--model", f"{onnx}:x", "--weights", other, "--normalise", "0/1",
         "--images", file("none"), "--out", file("e.onnx")],
        ["lineup", bundle, "--source", onnx, "--weights", str(models), "--images", file("none"),
         "--panel", str(models), "--key", owner, "--out", file("l")],
        ["lineup", bundle, "--model", f"{onnx}:x", "--source", other, "--train", ALL,
         "--images", file("none"), "--panel", str(models), "--key", owner, "--out", file("l")],
        *(["config", *below] for below in ([], ["allow"], ["forget"])),
        ["completion", ALL],
        ["ui", bundle, onnx],
        ["bench", ALL],
        ["bench", "startup", ALL],
    ]  # fmt: skip


def test_every_command_is_among_them(place: Place) -> None:
    tried = {tuple(line[:length]) for line in everything(place) for length in (1, 2)}
    assert set(leaves()) <= tried, "a new command: add a line of it to `everything`"


# All that they write goes through one gate, which has tests of its own.
@pytest.mark.parametrize(
    "on_terminal",
    [
        pytest.param(True, id="terminal", marks=pytest.mark.long),
        pytest.param(False, id="pipe", marks=pytest.mark.whole),
    ],
)
def test_no_command_writes_a_name_raw(tmp_path: Path, place: Place, on_terminal: bool) -> None:
    lines = everything(place)
    done = run_many(lines, tmp_path, on_terminal=on_terminal)
    assert_printable(lines, done)
    for path in (".html", ".xml", "new.toml", ".toml"):
        assert not steering(Path(place.file(path)).read_text()) - {"\t"}, path
    (page,) = Path(place.file("swept")).glob("*.html")
    assert not steering(page.read_text())
    shutil.rmtree(place.folder)
