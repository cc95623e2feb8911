"""What an audit promises: error rates, and whether it may stop as soon as they are met.

The bundle names alpha and beta; an auditor may ask for others that its calibration models support.
The rule is part of an audit's settings, so that a record says it and `judge` follows it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from audit.bundle.manifest import MAX_RATE, Manifest
from audit.errors import AuditError
from audit.verdict.p_values import innocents_needed, smallest_p_value
from audit.verdict.populations import populations

MIN_QUERIES = 20
"""Fewer answered queries (or triggers) than this clear nobody, and decide nothing at all where
everything is to be asked."""
MAX_REFUSED = 0.05
"""Above this share of refusals a suspect is not called independent."""
STOPPING_SHARE = 0.1
"""What stopping early may add to the error rates, as a share of the smaller one."""


@dataclass(frozen=True, kw_only=True)
class DecisionRule:
    """When a score decides."""

    alpha: float
    """False-positive rate over the draw of an innocent model, (0, 1)."""
    beta: float
    """Miss rate over the draw of a derived model, (0, 1)."""
    stopping_error: float = 0.0
    """Chance of a wrong word on the control images by stopping early (`audit.verdict.betting`); 0
    asks every question, queries included."""

    def settings(self) -> dict[str, str]:
        """Return the rule as an audit's settings hold it."""
        return {
            "alpha": repr(self.alpha),
            "beta": repr(self.beta),
            "stopping_error": repr(self.stopping_error),
        }


def bundle_rule(manifest: Manifest) -> DecisionRule:
    """Return the rule that a bundle names: its own rates, every question."""
    return DecisionRule(alpha=manifest.alpha, beta=manifest.beta)


def choose_rule(
    manifest: Manifest, *, alpha: float | None, beta: float | None, stop_early: bool
) -> DecisionRule:
    """Return the rule that an auditor asks for.

    Args:
        manifest: The bundle's.
        alpha: False-positive rate; None takes the bundle's.
        beta: Miss rate; None takes the bundle's.
        stop_early: Stop asking as soon as the verdict is certain enough.

    Raises:
        AuditError: The bundle has too few models for a rate; says how many it takes.
    """
    compared = populations(manifest)
    for name, rate, num, what in (
        ("alpha", alpha, compared.num_lineages, "innocent lineages"),
        ("beta", beta, len(compared.derived_kinds), "derived calibration models"),
    ):
        if rate is not None:
            _require_support(name, rate, num, what)
    rates = manifest.alpha if alpha is None else alpha, manifest.beta if beta is None else beta
    return DecisionRule(
        alpha=rates[0],
        beta=rates[1],
        # A record repeats this number, and 0.1 * 0.1 is 0.010000000000000002.
        stopping_error=round(STOPPING_SHARE * min(rates), 12) if stop_early else 0.0,
    )


def read_rule(settings: Mapping[str, str], manifest: Manifest) -> DecisionRule:
    """Return the rule in an audit's settings; what they leave out is the bundle's.

    Raises:
        AuditError: A value is no rate.
    """
    own = bundle_rule(manifest).settings()
    values = {name: _rate(name, settings.get(name, default)) for name, default in own.items()}
    return DecisionRule(**values)


def _require_support(name: str, rate: float, num: int, what: str) -> None:
    if not 0 < rate <= MAX_RATE:
        raise AuditError(
            f"{name}: expected a rate above 0 and at most {MAX_RATE:g}, got {rate:g}; one that is "
            "wrong more often is no evidence"
        )
    needed = innocents_needed(rate)
    if num < needed:
        raise AuditError(
            f"{name}: {rate:g} needs {needed} {what}, this bundle has {num}; the smallest rate "
            f"it supports is {smallest_p_value(num):.3g}"
        )


def _rate(name: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError as error:
        raise AuditError(f"settings: {name}: expected a rate, got {text!r}") from error
    # Written so that NaN fails: every comparison with it is false.
    if not 0 <= rate <= MAX_RATE or (rate == 0 and name != "stopping_error"):
        raise AuditError(
            f"settings: {name}: expected a rate above 0 and at most {MAX_RATE:g}, got {text!r}"
        )
    return rate
