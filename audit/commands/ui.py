"""``kinprint ui``: the terminal UI, in this terminal or, with --serve, in a browser here."""

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Literal

import click

from audit.commands.consent import allow_option
from audit.commands.option_groups import sandbox_option

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
CONFIG_VARIABLE = "KINPRINT_CONFIG"
SERVE_PORT = 8080
SWITCH_INTERVAL_S = 0.001
"""How soon the screen's thread gets its turn while an audit computes in another."""


@click.command("ui", short_help="Pick, watch and export audits on a screen.")
@click.argument("bundle", required=False, type=click.Path(exists=True, path_type=Path))
@click.argument("suspect", required=False, type=_EXISTING)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where bundles and suspects are; by default the bundle's folder, or this one.",
)
@click.option("--trust", multiple=True, type=_EXISTING, help="Public key that may have signed.")
@allow_option
@click.option("--journal", type=click.Path(dir_okay=False, path_type=Path), help="SQLite file.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@sandbox_option
@click.option("--theme", default="", help="dark, light, terminal, or a theme of Textual's.")
@click.option(
    "--config",
    envvar=CONFIG_VARIABLE,
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of keymap.toml and of what the screen remembers.",
)
@click.option("--serve", is_flag=True, help="Serve it to a browser on this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), default=SERVE_PORT, show_default=True)
def command(
    bundle: Path | None,
    suspect: Path | None,
    folder: Path | None,
    trust: tuple[Path, ...],
    allow: tuple[str, ...],
    journal: Path | None,
    device: Literal["auto", "cpu", "cuda"],
    require_sandbox: bool,
    theme: str,
    config: Path | None,
    serve: bool,
    port: int,
) -> None:
    """Open the terminal UI, at a new audit if BUNDLE or SUSPECT is named.

    A folder of results of 'kinprint sweep' instead of BUNDLE opens that sweep.
    """
    from adapters.endpoint.grants import typed_grants
    from audit.signing.keys import load_trust
    from audit.tui.sweep_data import is_sweep

    sweep = None
    if bundle is not None and bundle.is_dir():
        if suspect is not None or not is_sweep(bundle):
            raise click.UsageError(
                f"bundle: expected a bundle, or the results of a sweep, got the folder {bundle}; "
                "--folder says where bundles and suspects are"
            )
        sweep, bundle = bundle.absolute(), None

    load_trust(trust)  # a wrong key or option is told before the screen opens
    typed_grants(allow)
    if serve:
        _serve(port)
        return
    _require_terminal()
    from adapters.onnx.process.limits import OnnxLimits
    from audit.journal.journal import default_journal
    from audit.tui.app import KinprintApp
    from audit.tui.desk import Desk
    from audit.tui.preferences import config_folder, load_keymap, load_preferences
    from audit.tui.terminal_guard import end_with_terminal
    from audit.tui.themes import known_themes, theme_name

    config = (config or config_folder()).absolute()
    if theme and theme_name(theme) not in known_themes():
        raise click.UsageError(
            f"--theme: expected dark, light, terminal or one of {', '.join(known_themes())}, "
            f"got {theme!r}"
        )
    preferences = load_preferences(config)
    desk = Desk(
        folder=_folder(folder, bundle, preferences.folder),
        journal=(journal or default_journal()).absolute(),
        config=config,
        preferences=preferences,
        trusted=[path.absolute() for path in trust],
        allow=list(allow),
        device=device,
        limits=OnnxLimits(require_sandbox=require_sandbox),
        first_bundle=None if bundle is None else bundle.absolute(),
        first_suspect=None if suspect is None else suspect.absolute(),
        first_sweep=sweep,
    )
    app = KinprintApp(desk, theme=theme, keymap=load_keymap(config))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    end_with_terminal()
    app.run()
    if app.return_code:
        raise SystemExit(app.return_code)


def _folder(asked: Path | None, bundle: Path | None, remembered: str) -> Path:
    """Return where to look: what was asked, beside the bundle, here, or where it was last."""
    if asked is not None:
        return asked.absolute()
    if bundle is not None:
        return bundle.absolute().parent
    here = Path.cwd()
    if not any(here.glob("*.kinprint")) and remembered and Path(remembered).is_dir():
        return Path(remembered)
    return here


def _require_terminal() -> None:
    """Refuse where nobody could see or type anything."""
    if os.environ.get("TEXTUAL_DRIVER"):
        return  # a browser, by way of --serve
    for stream, name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if not stream.isatty():
            raise click.UsageError(
                f"{name} is no terminal; use kinprint audit in scripts, and ssh -t over ssh"
            )
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise click.UsageError("TERM is not set or dumb: this terminal cannot show a screen")


def _serve(port: int) -> None:
    from adapters.extras import require
    from audit.errors import AuditError

    require("textual_serve", by="--serve", error=AuditError)
    from audit.tui.browser import ADDRESS, BrowserServer

    own = [argument for argument in sys.argv[1:] if argument != "--serve"]
    line = shlex.join([sys.executable, "-m", "kinprint", *_without_port(own)])
    server = BrowserServer(line, port)
    try:
        # Before an address is told that leads to somebody else.
        socket.create_server((ADDRESS, port)).close()
    except OSError as error:
        raise AuditError(
            f"port: cannot listen on {port} of this machine ({os.strerror(error.errno or 0)}); "
            "give another with --port"
        ) from error
    click.echo(
        f"{server.address}\nfrom this machine only; whoever has this address can audit and read "
        "your files, so keep it to yourself. Ctrl+C ends it.",
        err=True,
    )
    server.serve()


def _without_port(arguments: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith("--port="):
            skip = False
            continue
        if argument == "--port":
            skip = True
            continue
        kept.append(argument)
    return kept
