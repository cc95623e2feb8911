"""Options that travel together: taken from the command line as one frozen value.

Nothing heavy is imported before a command runs, so that ``--help`` stays quick.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from audit.commands.consent import opened_with_consent

if TYPE_CHECKING:
    from adapters.onnx.suspect import OutputKindChoice
    from adapters.suspect import Suspect
    from audit.asking.options import AuditOptions
    from audit.bundle.manifest import BundleContents
    from audit.verdict.rule import LookFor

Result = TypeVar("Result")

sandbox_option = click.option(
    "--require-sandbox",
    is_flag=True,
    help="Parse no ONNX file unless its process can be shut in fully (docs/suspects.md).",
)


look_for_option = click.option(
    "--look-for",
    type=click.Choice(["copies"]),
    help="Ask the crafted queries only: no line-up, which finds what learnt from answers.",
)


def check_look_for(scores: tuple[str, ...], look_for: str | None) -> None:
    """Refuse a score beside what to look for, which is a choice of scores.

    Raises:
        click.UsageError: Both are given.
    """
    if scores and look_for:
        raise click.UsageError("--score and --look-for exclude each other")


def gathered(**groups: type) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Hand options on as values of dataclasses; goes directly above the command's function.

    Args:
        groups: Dataclass by the name of the function's parameter. Each of its fields is an option
            of the command.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Size:
        ...     width: int
        ...     height: int
        >>> @gathered(size=Size)
        ... def area(size: Size, unit: str) -> str:
        ...     return f"{size.width * size.height} {unit}"
        >>> area(width=2, height=3, unit="px")
        '6 px'
    """

    def around(function: Callable[..., Result]) -> Callable[..., Result]:
        @functools.wraps(function)
        def command(**given: Any) -> Result:
            values = {
                name: group(**{field.name: given.pop(field.name) for field in fields(group)})
                for name, group in groups.items()
            }
            return function(**values, **given)

        return command

    return around


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuspectOptions:
    """Whom to ask, and how each suspect is opened."""

    files: tuple[Path, ...]
    described: tuple[Path, ...]
    endpoints: tuple[Path, ...]
    functions: tuple[str, ...]
    batch_size: int
    call_timeout: float
    price: str | None
    allow: tuple[str, ...]
    output: str | None
    output_kind: "OutputKindChoice"
    labels_only: bool
    device: Literal["auto", "cpu", "cuda"]
    require_sandbox: bool
    rate: float | None
    ca_bundle: Path | None
    insecure: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """All suspects, in the order of asking."""
        return (*self.files, *self.described, *self.endpoints, *map(Path, self.functions))

    def check(self) -> None:
        """Refuse options that speak of suspects which are not there.

        Raises:
            click.UsageError: No suspect, or an option that none of them can use.
        """
        if not self.paths:
            raise click.UsageError(
                "no suspect: give --onnx FILE, --suspect FILE.toml, --endpoint FILE.toml or "
                "--python FILE.py:FUNCTION"
            )
        if self.output is not None and not self.files:
            raise click.UsageError("--output is for --onnx; a suspect file says it under [model]")
        if self.output_kind != "auto" and not (self.files or self.functions):
            raise click.UsageError(
                "--output-kind is for --onnx and --python; a suspect file says it under [model]"
            )
        if self.price is not None and not self.functions:
            raise click.UsageError("--price is for --python; an endpoint file names its own")

    def open(self, bundle: "BundleContents", path: Path) -> "Suspect":
        """Open one of `paths` for a bundle; asks for what an endpoint file wants to use.

        Raises:
            SuspectError: It cannot be opened.
            click.ClickException: The user does not allow it.
        """
        from adapters.onnx.process.limits import OnnxLimits
        from audit.suspects.opening import open_described, open_file, open_remote

        limits = OnnxLimits(require_sandbox=self.require_sandbox)
        if path in self.files:
            return open_file(
                bundle,
                path,
                device=self.device,
                labels_only=self.labels_only,
                output=self.output,
                output_kind=self.output_kind,
                limits=limits,
            )
        if path in self.described:
            return open_described(
                bundle, path, device=self.device, labels_only=self.labels_only, limits=limits
            )
        if str(path) in map(str, map(Path, self.functions)):
            return self._open_function(bundle, str(path))
        return opened_with_consent(
            path,
            self.allow,
            lambda allow: open_remote(
                bundle,
                path,
                labels_only=self.labels_only,
                ca_bundle=self.ca_bundle,
                allow_plain_http=self.insecure,
                rate=self.rate,
                allow=allow,
                looks_up=True,
            ),
        )

    def _open_function(self, bundle: "BundleContents", spec: str) -> "Suspect":
        from audit.commands.agreement import price_per_image
        from audit.suspects.opening import open_function

        kind = "labels" if self.labels_only else self.output_kind
        if kind == "sigmoids":
            raise click.UsageError(
                "--output-kind: expected labels, probabilities, log_probabilities or logits for "
                "--python, got sigmoids"
            )
        return open_function(
            bundle,
            spec,
            # Softmax leaves log-probabilities as they are.
            answers="labels"
            if kind in ("auto", "labels")
            else "probabilities"
            if kind == "probabilities"
            else "logits",
            batch_size=self.batch_size,
            limit_s=self.call_timeout,
            tariff=price_per_image(self.price),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskingOptions:
    """What to ask and when to stop."""

    scores: tuple[str, ...]
    look_for: "LookFor | None"
    budget: int | None
    max_cost: str | None
    max_requests: int | None
    alpha: float | None
    beta: float | None
    stop_early: bool | None
    resume: bool
    infer_classes: bool

    def audit_options(self) -> "AuditOptions":
        """Return them as an audit takes them.

        Raises:
            click.UsageError: The amount is none, or a score and what to look for contradict.
        """
        from adapters.tariff import SpendingLimits
        from audit.asking.options import AuditOptions
        from audit.commands.agreement import amount

        check_look_for(self.scores, self.look_for)
        return AuditOptions(
            scores=self.scores,
            look_for=self.look_for,
            budget=self.budget,
            resume=self.resume,
            alpha=self.alpha,
            beta=self.beta,
            stop_early=self.stop_early,
            limits=SpendingLimits(
                max_requests=self.max_requests,
                max_cost=None if self.max_cost is None else amount(self.max_cost),
            ),
            infer_classes=self.infer_classes,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """Where a record goes and who signs it."""

    record_path: Path | None
    auditor_key: Path | None
    passphrase_env: str | None
    timestamp_url: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is said, where, and which exit status it gives."""

    as_json: bool
    junit_path: Path | None
    sarif_path: Path | None
    quiet: bool
    fail_on: str

    @property
    def has_document(self) -> bool:
        """Whether a program reads what came of each suspect, errors included."""
        return self.as_json or self.junit_path is not None or self.sarif_path is not None
