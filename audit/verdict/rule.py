"""What an audit promises: error rates, and whether it may stop as soon as they are met.

The bundle names alpha and beta; an auditor may ask for others that its calibration models support.
The rule is part of an audit's settings, so that a record says it and `judge` follows it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from audit.bundle.manifest import Manifest
from audit.errors import AuditError
from audit.verdict.p_values import innocents_needed, smallest_p_value

MIN_QUERIES = 20
"""Fewer answered queries (or triggers) than this decide nothing, unless a bet already did."""
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
    """Added to both by stopping early (`audit.verdict.betting`); 0 asks every question."""

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
    for name, rate, role in (("alpha", alpha, "innocent"), ("beta", beta, "derived")):
        if rate is not None:
            _require_support(manifest, name, rate, role)
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


def _require_support(manifest: Manifest, name: str, rate: float, role: str) -> None:
    if not 0 < rate < 1:
        raise AuditError(f"{name}: expected a rate between 0 and 1, got {rate:g}")
    num = sum(model.role == role for model in manifest.calibration_models)
    needed = innocents_needed(rate)
    if num < needed:
        raise AuditError(
            f"{name}: {rate:g} needs {needed} {role} calibration models, this bundle has {num}; "
            f"the smallest rate it supports is {smallest_p_value(num):.3g}"
        )


def _rate(name: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError as error:
        raise AuditError(f"settings: {name}: expected a rate, got {text!r}") from error
    # Written so that NaN fails: every comparison with it is false.
    if not 0 <= rate < 1 or (rate == 0 and name != "stopping_error"):
        raise AuditError(f"settings: {name}: expected a rate between 0 and 1, got {text!r}")
    return rate
