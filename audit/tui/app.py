"""The app: themes, keys, the way between the screens, and a quiet end whatever happens."""

import signal
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme

from adapters.printable import printable
from audit.tui import themes
from audit.tui.desk import Desk
from audit.tui.library import Library
from audit.tui.navigation import (
    GoBack,
    Navigate,
    OpenCompare,
    OpenExport,
    Opening,
    OpenInspector,
    OpenNewAudit,
    OpenResult,
    OpenSweep,
    Quit,
    WatchAudit,
)
from audit.tui.screens.compare import CompareScreen
from audit.tui.screens.export import ExportScreen
from audit.tui.screens.help import HelpScreen
from audit.tui.screens.home import HomeScreen
from audit.tui.screens.inspector import InspectorScreen
from audit.tui.screens.live import LiveScreen
from audit.tui.screens.new_audit import NewAuditScreen
from audit.tui.screens.result import ResultScreen
from audit.tui.screens.sweep import SweepScreen


class KinprintApp(App[None]):
    """The terminal UI.

    Args:
        desk: Where things lie.
        theme: Name of a theme; the remembered one, or the dark one, if empty.
        keymap: The user's keys by binding id.
    """

    TITLE = "Kinprint"
    CSS_PATH = "kinprint.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", id="app.help", tooltip="What one does here"),
        Binding("q", "leave", "Quit", id="app.quit", tooltip="Quit"),
        Binding("ctrl+q", "leave", "Quit", id="app.quit-anywhere", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "Suspend", id="app.suspend", show=False),
    ]

    def __init__(
        self, desk: Desk, *, theme: str = "", keymap: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self.desk = desk
        self.library = Library()
        for own in (themes.DARK, themes.LIGHT):
            self.register_theme(own)
        self._first_theme = themes.theme_name(theme or desk.preferences.theme or "dark")
        self._user_keymap = keymap or {}
        self._is_ending = False

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Tell something in passing; names of files are in it, so that nothing in it is markup."""
        super().notify(
            printable(message),
            title=printable(title),
            severity=severity,
            timeout=timeout,
            markup=False,
        )

    def on_mount(self) -> None:
        """Open Home, and the form where bundle and suspect are named already."""
        self.theme = (
            self._first_theme if self._first_theme in self.available_themes else themes.DARK.name
        )
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        if self._user_keymap:
            self.set_keymap(self._user_keymap)
        self._end_on_signals()
        self.push_screen(HomeScreen())
        if self.desk.first_sweep is not None:
            self.push_screen(SweepScreen(self.desk.first_sweep))
        if self.desk.first_bundle is not None:
            self.push_screen(
                NewAuditScreen(
                    bundle_path=self.desk.first_bundle, suspect_path=self.desk.first_suspect
                )
            )

    def on_navigate(self, event: Navigate) -> None:
        """Take the step that a screen asks for."""
        if self._is_ending:
            return
        match event.step:
            case Quit():
                self.exit()
            case GoBack():
                while event.screen in self.screen_stack:  # with whatever lies on it
                    self.pop_screen()
            case opening if event.screen is self.screen:  # a key pressed twice leads on once
                screen = screen_for(opening)
                if event.replaces:
                    self.switch_screen(screen)
                else:
                    self.push_screen(screen)

    def _end_on_signals(self) -> None:
        """Leave the terminal as it was, also when somebody ends the process from outside."""
        from asyncio import get_running_loop

        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                get_running_loop().add_signal_handler(number, self.exit)
            except (NotImplementedError, RuntimeError, ValueError):
                return  # not the main thread, or a system without signals

    def _remember_theme(self, theme: Theme) -> None:
        self.desk.remember(theme=theme.name)

    def exit(self, *arguments: Any, **options: Any) -> None:
        """End; keys that are still on their way do nothing any more."""
        self._is_ending = True
        super().exit(*arguments, **options)

    async def run_action(self, *arguments: Any, **options: Any) -> bool:
        """Do what a key says, unless the app is ending."""
        return not self._is_ending and await super().run_action(*arguments, **options)

    def action_help(self) -> None:
        """Show what one does here."""
        screen = self.screen
        if isinstance(screen, HelpScreen):
            screen.dismiss()
            return
        self.push_screen(HelpScreen.about(screen))

    def action_leave(self) -> None:
        """Quit, after asking if an audit runs."""
        for screen in self.screen_stack:
            if isinstance(screen, LiveScreen) and screen.is_asking:
                screen.leave(Quit())
                return
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer the screen's own keys, then Textual's commands."""
        for binding in screen.active_bindings.values():
            if binding.enabled and binding.binding.tooltip and binding.node is screen:
                yield SystemCommand(
                    binding.binding.description,
                    binding.binding.tooltip,
                    self._runner(screen, binding.binding.action),
                )
        for command in super().get_system_commands(screen):
            if command.title != "Quit":
                yield command
        yield SystemCommand(
            "Quit", "Leave; an audit that runs is stopped and kept", self.action_leave
        )

    def _runner(self, screen: Screen[object], action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(screen.run_action, action)

        return run


def screen_for(opening: Opening) -> Screen[None]:
    """Return the screen that a step leads to."""
    match opening:
        case OpenInspector(bundle_path=path):
            return InspectorScreen(path)
        case OpenNewAudit(bundle_path=bundle, suspect_path=suspect):
            return NewAuditScreen(bundle_path=bundle, suspect_path=suspect)
        case WatchAudit(order=order):
            return LiveScreen(order)
        case OpenResult():
            return ResultScreen(opening)
        case OpenCompare(digest=digest, bundles=bundles):
            return CompareScreen(digest, bundles=bundles)
        case OpenSweep(folder=folder):
            return SweepScreen(folder)
        case OpenExport(data=data, journal=journal):
            return ExportScreen(data, journal=journal)
