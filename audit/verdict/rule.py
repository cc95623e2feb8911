"""What an audit promises: error rates, and whether it may stop as soon as they are met.

The bundle names alpha and beta; an auditor may ask for others that its calibration models support.
The rule is part of an audit's settings, so that a record says it and `judge` follows it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from audit.bundle.manifest import MAX_RATE, Manifest, Steps
from audit.errors import AuditError
from audit.verdict.line_up_race import LINE_UP
from audit.verdict.p_values import innocents_needed, smallest_p_value
from audit.verdict.populations import num_lineages, populations
from audit.verdict.sharing import share_alpha

MIN_QUERIES = 20
"""Fewer answered queries (or triggers) than this clear nobody, and decide nothing at all where
everything is to be asked."""
MAX_REFUSED = 0.05
"""Above this share of refusals a suspect is not called independent."""
STOPPING_SHARE = 0.1
"""What stopping early may add to the error rates, as a share of the smaller one."""
LookFor = Literal["copies"]
"""What an audit may be content with: crafted queries find copies, not students."""


@dataclass(frozen=True, kw_only=True)
class DecisionRule:
    """When a score decides, or two steps do."""

    alpha: float
    """False-positive rate over the draw of an innocent model, (0, 1); of two steps together."""
    beta: float
    """Miss rate over the draw of a derived model, (0, 1)."""
    stopping_error: float = 0.0
    """Chance of a wrong word on the control images by stopping early (`audit.verdict.betting`); 0
    asks every question, queries included."""
    steps: Steps | None = None
    """How two steps share alpha; None where one score decides."""
    look_for: LookFor | None = None
    """Set where the auditor wants to know of nothing else."""

    def for_score(self, score: str) -> "DecisionRule":
        """Return the rule by which one score is judged: at its step's level."""
        if self.steps is None:
            return self
        alpha = self.steps.line_up_alpha if score == LINE_UP else self.steps.crafted_alpha
        return replace(self, alpha=alpha, steps=None)

    def settings(self) -> dict[str, str]:
        """Return the rule as an audit's settings hold it."""
        told = {
            "alpha": repr(self.alpha),
            "beta": repr(self.beta),
            "stopping_error": repr(self.stopping_error),
        }
        if self.steps is not None:
            told["crafted_alpha"] = repr(self.steps.crafted_alpha)
            told["line_up_alpha"] = repr(self.steps.line_up_alpha)
        if self.look_for is not None:
            told["look_for"] = self.look_for
        return told


def bundle_rule(manifest: Manifest) -> DecisionRule:
    """Return the rule that a bundle names for one score: its own rates, every question."""
    return DecisionRule(alpha=manifest.alpha, beta=manifest.beta)


def choose_rule(
    manifest: Manifest,
    *,
    alpha: float | None,
    beta: float | None,
    stop_early: bool,
    in_steps: bool = False,
    look_for: LookFor | None = None,
) -> DecisionRule:
    """Return the rule that an auditor asks for.

    Args:
        manifest: The bundle's.
        alpha: False-positive rate, of two steps together; None takes the bundle's.
        beta: Miss rate; None takes the bundle's.
        stop_early: Stop asking as soon as the verdict is certain enough.
        in_steps: Whether two steps decide; the bundle has a line-up then.
        look_for: See `DecisionRule`.

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
    steps = _chosen_steps(manifest, alpha) if in_steps else None
    return DecisionRule(
        alpha=rates[0] if steps is None else steps.alpha,
        beta=rates[1],
        # A record repeats this number, and 0.1 * 0.1 is 0.010000000000000002.
        stopping_error=round(STOPPING_SHARE * min(rates), 12) if stop_early else 0.0,
        steps=steps,
        look_for=look_for,
    )


def read_rule(settings: Mapping[str, str], manifest: Manifest) -> DecisionRule:
    """Return the rule in an audit's settings; what they leave out is the bundle's.

    Raises:
        AuditError: A value is no rate.
    """
    own = bundle_rule(manifest).settings()
    values = {name: _rate(name, settings.get(name, default)) for name, default in own.items()}
    rule = DecisionRule(
        alpha=values["alpha"],
        beta=values["beta"],
        stopping_error=values["stopping_error"],
        look_for=_look_for(settings.get("look_for")),
    )
    levels = [name for name in ("crafted_alpha", "line_up_alpha") if name in settings]
    if not levels:
        return rule
    if len(levels) == 1 or manifest.line_up is None:
        raise AuditError(
            "settings: expected crafted_alpha and line_up_alpha for two steps with a line-up, or "
            f"neither, got {' and '.join(levels)}"
        )
    steps = Steps(**{name: _rate(name, settings[name]) for name in levels})
    if rule.alpha != steps.alpha:
        raise AuditError(
            f"settings: alpha: expected {steps.alpha:g}, the levels of both steps together, got "
            f"{rule.alpha:g}"
        )
    return replace(rule, steps=steps)


def _look_for(text: str | None) -> LookFor | None:
    if text not in (None, "copies"):
        raise AuditError(f"settings: look_for: expected copies or nothing, got {text!r}")
    return None if text is None else "copies"


def _chosen_steps(manifest: Manifest, alpha: float | None) -> Steps:
    assert manifest.line_up is not None, "who asks in two steps has a line-up"
    if manifest.steps is not None and alpha in (None, manifest.steps.alpha):
        return manifest.steps
    num, num_members = num_lineages(manifest), len(manifest.line_up.members)
    level = manifest.alpha if alpha is None else alpha
    steps = share_alpha(level, num_lineages=num, num_members=num_members)
    if steps is None:
        least = smallest_p_value(num) + 1 / num_members
        raise AuditError(
            f"alpha: {level:g} cannot be shared between two steps: {num} innocent lineages can "
            f"give p = {smallest_p_value(num):.3g} and {num_members - 1} siblings "
            f"{1 / num_members:.3g}, together {least:.3g}; ask for more, or for one step by "
            "--look-for copies or --score"
        )
    return steps


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
