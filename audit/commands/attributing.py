"""``kinprint audit --attribute``: which of several sources of one owner a suspect learnt from."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from adapters.printable import json_text, printable
from adapters.suspect import Suspect
from adapters.tariff import SpendingLimits
from audit.asking.options import AuditOptions
from audit.bundle.manifest import MAX_RATE, BundleContents
from audit.commands.option_groups import OutputOptions, SuspectOptions
from audit.errors import AuditError, BudgetSpentError
from audit.exit_codes import ExitCode, code_for_error, gravest
from audit.verdict.attribution import Attribution, SourceFinding, attribute
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.outcome import Verdict

SCHEMA_VERSION = 1
"""Of the JSON document."""

AuditOne = Callable[[BundleContents, AuditOptions], dict[str, Any]]
"""Audits a suspect with a bundle; returns its row as in the document of ``kinprint audit``."""


def check_sources(bundles: Sequence[BundleContents], options: AuditOptions) -> tuple[float, ...]:
    """Refuse bundles that cannot be compared, before anything is asked.

    Args:
        bundles: At least one.
        options: What was asked for.

    Returns:
        The level of each line-up.

    Raises:
        AuditError: One has no line-up, two are of one source or of different tasks, or the levels
            together are no evidence.
        click.UsageError: An option that is about one bundle.
    """
    if options.scores or options.look_for or options.resume or options.infer_classes:
        raise click.UsageError(
            "--attribute asks the line-up of each bundle: --score, --look-for, --resume and "
            "--infer-classes are for one bundle"
        )
    if len(bundles) < 2:
        raise AuditError("attribute: expected bundles of at least two sources, got one")
    first = bundles[0].manifest
    known: dict[str, str] = {}
    for bundle in bundles:
        manifest, name = bundle.manifest, bundle.manifest.model_name
        if bundle.line_up is None:
            raise AuditError(
                f"attribute: {name!r}: expected a line-up, got a bundle without; its owner makes "
                "one with kinprint lineup"
            )
        if manifest.task != first.task:
            raise AuditError(
                f"attribute: {name!r} and {first.model_name!r} are about different tasks; versions "
                "of one model have the same images and classes"
            )
        if manifest.source.weights_sha256 in known:
            raise AuditError(
                f"attribute: {known[manifest.source.weights_sha256]!r} and {name!r} are bundles of "
                "the same source; give each version once"
            )
        known[manifest.source.weights_sha256] = name
    levels = tuple(_level(bundle, options.alpha, len(bundles)) for bundle in bundles)
    if sum(levels) > MAX_RATE + 1e-9:
        raise AuditError(
            f"alpha: {len(bundles)} line-ups would name a source for an innocent model at a rate "
            f"of {sum(levels):.3g}, expected at most {MAX_RATE:g}; give fewer bundles, or --alpha "
            "for all together, which takes more siblings"
        )
    return levels


def attribute_suspect(
    bundles: Sequence[BundleContents],
    levels: Sequence[float],
    options: AuditOptions,
    audit_one: AuditOne,
) -> dict[str, Any]:
    """Ask a suspect with the line-up of every bundle.

    Args:
        bundles: From `check_sources`.
        levels: Likewise.
        options: Limits on spending count for all bundles together, a budget for each.
        audit_one: Asks with one.
    """
    rows: list[dict[str, Any]] = []
    for bundle, level in zip(bundles, levels, strict=True):
        limits = _left(options.limits, [row["run"]["spent"] for row in rows])
        chosen = replace(options, scores=(LINE_UP,), alpha=level, limits=limits)
        rows.append(audit_one(bundle, chosen))
    found = attribute(
        [
            SourceFinding(
                model_name=bundle.manifest.model_name,
                verdict=_by_answers(row["outcome"]) if row["is_complete"] else _OPEN,
                p_value=row["outcome"]["scores"][0]["p_value"] if row["outcome"]["scores"] else 1.0,
                level=level,
            )
            for bundle, row, level in zip(bundles, rows, levels, strict=True)
        ]
    )
    return _document(bundles, rows, found)


_OPEN = Verdict.INCONCLUSIVE


def _level(bundle: BundleContents, alpha: float | None, num: int) -> float:
    if alpha is not None:
        return alpha / num
    steps = bundle.manifest.steps
    return bundle.manifest.alpha if steps is None else steps.line_up_alpha


def _by_answers(outcome: Mapping[str, Any]) -> Verdict:
    """Return what the line-up says: the levels are shared out among line-ups, not weights."""
    weights = outcome.get("weights")
    return Verdict(outcome["verdict"] if weights is None else weights["answers_verdict"])


def _left(limits: SpendingLimits, spent: Sequence[dict[str, Any] | None]) -> SpendingLimits:
    """Return what a limit for all bundles leaves for the next one."""
    left = limits
    for one in spent:
        if one is not None and left.max_requests is not None:
            left = replace(left, max_requests=left.max_requests - one["requests"])
        if one is not None and left.max_cost is not None and one["cost"] is not None:
            left = replace(left, max_cost=left.max_cost - Decimal(one["cost"]))
    amounts = [amount for amount in (left.max_requests, left.max_cost) if amount is not None]
    if any(amount <= 0 for amount in amounts):
        raise BudgetSpentError(
            "attribute: the limit was spent before all bundles were asked; give a larger one"
        )
    return left


def run_attribution(
    bundles: Sequence[BundleContents],
    suspects: SuspectOptions,
    options: AuditOptions,
    audited: Callable[[BundleContents, Suspect, Path, AuditOptions], dict[str, Any]],
    output: OutputOptions,
) -> int:
    """Say for each suspect which of several sources it learnt from.

    Args:
        bundles: Of all sources.
        suspects: Whom to ask.
        options: How.
        audited: Audits one suspect with one bundle; returns its row.
        output: What is printed.

    Returns:
        The exit status.
    """
    levels = check_sources(bundles, options)
    found: list[dict[str, Any]] = []
    codes: list[ExitCode] = []
    for path in suspects.paths:

        def audit_one(
            bundle: BundleContents, chosen: AuditOptions, path: Path = path
        ) -> dict[str, Any]:
            with closing(suspects.open(bundle, path)) as suspect:
                return audited(bundle, suspect, path, chosen)

        try:
            found.append(attribute_suspect(bundles, levels, options, audit_one))
            codes += [ExitCode(source["exit_code"]) for source in found[-1]["sources"]]
        except Exception as error:
            code = code_for_error(error)
            if code is None or (len(suspects.paths) == 1 and not output.as_json):
                raise
            found.append({"suspect": {"path": str(path)}, "error": str(error)})
            codes.append(code)
    status = gravest(codes, output.fail_on)
    print_attributions(found, as_json=output.as_json, status=status)
    return status


def _document(
    bundles: Sequence[BundleContents], rows: Sequence[dict[str, Any]], found: Attribution
) -> dict[str, Any]:
    return {
        "suspect": rows[0]["suspect"],
        "named": list(found.named),
        "text": found.text,
        "alpha": found.level,
        "sources": [
            {
                "model_name": bundle.manifest.model_name,
                "owner": bundle.manifest.owner,
                "bundle": bundle.manifest_sha256,
                "adjusted_p_value": adjusted,
                "outcome": row["outcome"],
                "is_complete": row["is_complete"],
                "exit_code": row["exit_code"],
                "run": row["run"],
            }
            for bundle, row, adjusted in zip(bundles, rows, found.adjusted_p_values, strict=True)
        ],
    }


def print_attributions(found: Sequence[dict[str, Any]], *, as_json: bool, status: int) -> None:
    """Print what every suspect is attributed to."""
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "suspects": found, "exit_code": status}
        click.echo(json_text(json.dumps(document, indent=2)))
        return
    for one in found:
        name = printable(Path(one["suspect"]["path"]).name)
        if "error" in one:
            click.echo(f"{name}: {printable(one['error'])}")
            continue
        click.echo(f"{name}: {printable(one['text'])}")
        for source in one["sources"]:
            scores = source["outcome"]["scores"]
            p_value = f"p = {scores[0]['p_value']:z.3f}" if scores else "no p"
            told = (
                f"  {source['model_name']}: {source['outcome']['verdict']}, {p_value} "
                f"({source['adjusted_p_value']:z.3f} for all). {source['outcome']['text']}"
            )
            click.echo(printable(told))
