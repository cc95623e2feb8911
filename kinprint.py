"""Kinprint: is this deployed image classifier derived from mine?

The names that a script needs, loaded when they are first used, and the command line.

Example::

    import kinprint

    bundle = kinprint.open_bundle("model.kinprint", trust=["owner.pub"])
    suspect = kinprint.open_file(bundle, "suspect.onnx")
    outcome = kinprint.audit_suspect(bundle, suspect)
    print(outcome.verdict, outcome.text)
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from audit.api import (
        audit_suspect,
        open_bundle,
        open_described,
        open_file,
        open_function,
        open_remote,
    )
    from audit.verdict.outcome import Outcome, Verdict

__all__ = [
    "Outcome",
    "Verdict",
    "audit_suspect",
    "main",
    "open_bundle",
    "open_described",
    "open_file",
    "open_function",
    "open_remote",
]

_NAMES = {
    "Outcome": "audit.verdict.outcome",
    "Verdict": "audit.verdict.outcome",
    "audit_suspect": "audit.api",
    "open_bundle": "audit.api",
    "open_described": "audit.api",
    "open_file": "audit.api",
    "open_function": "audit.api",
    "open_remote": "audit.api",
}

_PACKAGES = ("adapters", "audit", "generator")

_COMMANDS = {
    "keygen": ("audit.commands.keygen", "Make a key pair that signs bundles and records."),
    "trust": ("audit.commands.trust", "Trust keys for good, list them, take them out."),
    "craft": ("generator.commands.craft", "Craft a signed trigger bundle from your model."),
    "export-onnx": (
        "generator.commands.export_onnx",
        "Write your model as an ONNX file that explains itself.",
    ),
    "references": ("generator.commands.references", "Train innocent models to compare with."),
    "lineup": ("generator.commands.lineup", "Let the source stand among its siblings."),
    "calibrate": ("audit.commands.calibrate", "Add innocent and derived models to a bundle."),
    "inspect": ("audit.commands.inspect", "Show what is in a bundle and who signed it."),
    "bundle": ("audit.commands.comparing.bundle", "Compare two bundles."),
    "probe": ("audit.commands.probe", "Say what an ONNX file is and how it wants its images."),
    "endpoint": ("audit.commands.endpoint", "Write and check the file that describes an API."),
    "audit": ("audit.commands.audit", "Ask suspects whether they derive from the source."),
    "sweep": ("audit.commands.sweep", "Ask many suspects with many bundles."),
    "record": ("audit.commands.record", "List, export, delete and compare audits."),
    "verify": ("audit.commands.verify", "Check a record and compute its verdict again."),
    "report": ("audit.commands.report", "Write a report of a record for people."),
    "config": ("audit.commands.config", "Show settings and where each comes from."),
    "ui": ("audit.commands.ui", "Pick, watch and export audits on a screen."),
    "completion": (
        "audit.commands.completion",
        "Print the script that completes commands in a shell.",
    ),
    "challenge": (
        "generator.commands.challenge",
        "Try a bundle on models that are surely innocent.",
    ),
    "commit": ("audit.commands.commit", "Sign a bundle's digest, to publish before any suspect."),
    "demo": ("generator.commands.demo", "Craft, sign and audit the embedded example."),
    "bench": ("generator.commands.bench", "Run the benchmarks of a checkout."),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'kinprint' has no attribute {name!r}")


class _LazyGroup(click.Group):
    """A command group that imports a command when it runs, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_word = args and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and args[0] not in _COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no command {args[0]!r}{hint}")
        found = super().resolve_command(ctx, args)
        name, command, rest = found
        if name is not None and command is not None and name not in ("config", "completion"):
            # Neither help nor a shell that completes a word is the place for a note.
            silent = ctx.resilient_parsing or bool({"-h", "--help"} & set(rest))
            ctx.default_map = {name: _defaults(command, is_told=not silent)}
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kinprint", prog_name="kinprint")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Is this deployed image classifier derived from mine?

    An owner crafts a signed trigger bundle from a model (craft); anyone can ask a suspect with it,
    an ONNX file or an API that returns labels only (audit).
    """


def _defaults(command: click.Command, *, is_told: bool) -> dict[str, Any]:
    """Return what variables and ``kinprint.toml`` files say for a command's options."""
    from audit.project.approval import PROJECT_FILE, config_folder, find_project

    here = _current_folder()
    is_said = any(name.startswith("KINPRINT_") for name in os.environ)
    project = None if here is None else find_project(here)
    # Nearly always there is nothing, and nothing is loaded to find that out.
    if here is None or not (is_said or project or (config_folder() / PROJECT_FILE).is_file()):
        return {}
    from audit.project.command_defaults import command_defaults
    from audit.project.settings import find_settings

    found = find_settings(here, os.environ)
    if found.is_ignored and is_told:
        print(
            f"note: {found.project} counts for nothing; look at it, then: kinprint config allow",
            file=sys.stderr,
        )
    values = {name: one.value for name, one in found.settings.items()}
    return command_defaults(command, values)


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def main() -> None:
    """Run the command line and exit with its status; whatever a command raises is told here."""
    _refuse_foreign_packages()
    from audit.commands.terminal.output_gate import printable_output

    with printable_output():
        _run()


def _run() -> NoReturn:
    # What is audited is nobody else's business: neither ours nor that of a library's maker.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    debug = "--debug" in sys.argv[1:]
    if debug:
        sys.argv.remove("--debug")
    try:
        status = cli(prog_name="kinprint", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        from audit.exit_codes import ExitCode

        print("interrupted", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; do not complain again while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
            sys.exit(1)
        code = _code_for(error)
        name = "" if code is not None else f"unexpected {type(error).__name__}: "
        hint = "" if code is not None else " (run again with --debug for the traceback)"
        print(f"error: {name}{error}{hint}", file=sys.stderr)
        sys.exit(1 if code is None else code)


def _code_for(error: Exception) -> int | None:
    from audit.exit_codes import ExitCode, code_for_error

    generation = sys.modules.get("generator.errors")
    if generation is not None and isinstance(error, generation.GenerationError):
        return ExitCode.USAGE
    return code_for_error(error)


def _refuse_foreign_packages() -> None:
    """Stop if another distribution owns one of our package names (``adapters`` is one such)."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = None if spec is None else spec.origin
        here = os.path.dirname(os.path.abspath(__file__))
        if origin is None or os.path.dirname(os.path.dirname(os.path.abspath(origin))) != here:
            _stop_for_foreign(package, origin)
        with open(origin, encoding="utf-8") as file:
            if not file.readline().startswith('"""Kinprint'):
                _stop_for_foreign(package, origin)


def _stop_for_foreign(package: str, origin: str | None) -> NoReturn:
    print(
        f"error: the package {package!r} found at {origin!r} belongs to another distribution; "
        "install Kinprint into a virtual environment of its own",
        file=sys.stderr,
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
