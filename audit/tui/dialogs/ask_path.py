"""Asks for a file or folder: type its path, or choose it in the tree."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Input, Static


class _Tree(DirectoryTree):
    """Shows folders and the files that are wanted."""

    def __init__(self, folder: Path, suffixes: tuple[str, ...], *, only_folders: bool) -> None:
        super().__init__(folder)
        self._suffixes, self._only_folders = suffixes, only_folders

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Leave out hidden files and those of another kind."""
        for path in paths:
            if path.name.startswith("."):
                continue
            if path.is_dir() or (
                not self._only_folders and (not self._suffixes or path.suffix in self._suffixes)
            ):
                yield path


class AskPath(ModalScreen[Path | None]):
    """Returns the path, or None if nobody wants to say.

    Args:
        question: What it is for.
        start: Where the tree begins; what stands in the field for a folder.
        suffixes: Kinds of files; all if empty.
        wants_folder: A folder is wanted, not a file.
        value: What stands in the field.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="path.cancel"),
    ]

    def __init__(
        self,
        question: str,
        start: Path,
        *,
        suffixes: tuple[str, ...] = (),
        wants_folder: bool = False,
        value: str = "",
    ) -> None:
        super().__init__()
        self._question, self._start, self._suffixes = question, start, suffixes
        self._wants_folder = wants_folder
        self._value = value or (f"{start}/" if not wants_folder else str(start))

    def compose(self) -> ComposeResult:
        """Lay out field and tree."""
        with Vertical(classes="dialog -tall"):
            yield Static(self._question, classes="dialog-title", markup=False)
            yield Input(self._value, id="path", compact=True)
            yield Static("", id="path-problem", classes="problem", markup=False)
            yield _Tree(self._start, self._suffixes, only_folders=self._wants_folder)
            yield Static(
                "Enter takes it, Tab moves to the tree, Escape leaves.", classes="dialog-text"
            )

    def on_mount(self) -> None:
        """Begin in the field."""
        self.query_one("#path").focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        path = Path(event.value.strip()).expanduser()
        is_there = path.is_dir() if self._wants_folder else path.is_file()
        if not is_there:
            wanted = "a folder" if self._wants_folder else "a file"
            self.query_one("#path-problem", Static).update(f"✗ expected {wanted}, got {path}")
            return
        self.dismiss(path.absolute())

    @on(DirectoryTree.FileSelected)
    def _file_selected(self, event: DirectoryTree.FileSelected) -> None:
        if not self._wants_folder:
            self.dismiss(event.path.absolute())

    @on(DirectoryTree.DirectorySelected)
    def _directory_selected(self, event: DirectoryTree.DirectorySelected) -> None:
        if self._wants_folder:
            self.query_one("#path", Input).value = str(event.path)

    def action_cancel(self) -> None:
        """Return nothing."""
        self.dismiss(None)
