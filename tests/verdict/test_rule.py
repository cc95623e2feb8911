"""Error rates: what an auditor may choose, what settings may say, and what comes of it."""

import pytest
from worlds.audit_world import known_bundle

from audit.errors import AuditError
from audit.verdict.rule import DecisionRule, bundle_rule, choose_rule, read_rule

MANIFEST = known_bundle().manifest
"""Nine models of each role; alpha = beta = 0.1."""


def test_the_bundles_rates_hold_where_nobody_chose_any() -> None:
    assert choose_rule(MANIFEST, alpha=None, beta=None, stop_early=False) == DecisionRule(
        alpha=0.1, beta=0.1, stopping_error=0.0
    )


def test_stopping_early_may_err_on_the_controls_by_a_tenth_of_the_smaller_rate() -> None:
    rule = choose_rule(MANIFEST, alpha=0.15, beta=0.2, stop_early=True)
    assert rule == DecisionRule(alpha=0.15, beta=0.2, stopping_error=0.015)


def test_a_rate_may_be_as_small_as_the_smallest_p_value() -> None:
    # 9 innocents give p = 1 / 10 at best
    assert choose_rule(MANIFEST, alpha=0.1, beta=None, stop_early=False).alpha == 0.1
    with pytest.raises(AuditError, match=r"alpha: 0\.0999 needs 10 innocent .*, this bundle has 9"):
        choose_rule(MANIFEST, alpha=0.0999, beta=None, stop_early=False)


@pytest.mark.parametrize("rate", [0.0, 0.21, 0.9, -0.1, float("nan")])
def test_a_chosen_rate_that_is_no_evidence_is_refused(rate: float) -> None:
    for alpha, beta in ((rate, None), (None, rate)):
        with pytest.raises(AuditError, match=r"expected a rate above 0 and at most 0\.2, got"):
            choose_rule(MANIFEST, alpha=alpha, beta=beta, stop_early=False)


def test_a_rule_is_read_from_settings_as_it_was_written() -> None:
    rule = DecisionRule(alpha=0.15, beta=0.2, stopping_error=0.015)
    assert read_rule(rule.settings(), MANIFEST) == rule
    assert read_rule({}, MANIFEST) == bundle_rule(MANIFEST)
    # An audit that asks every question adds no error.
    assert read_rule({"stopping_error": "0.0"}, MANIFEST).stopping_error == 0


@pytest.mark.parametrize("name", ["alpha", "beta", "stopping_error"])
@pytest.mark.parametrize("text", ["0.21", "1.0", "-0.1", "nan", "often"])
def test_settings_whose_rate_is_none_are_refused(name: str, text: str) -> None:
    with pytest.raises(AuditError, match=rf"settings: {name}: expected a rate.*, got '{text}'"):
        read_rule({name: text}, MANIFEST)


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_settings_that_allow_no_error_at_all_are_refused(name: str) -> None:
    with pytest.raises(AuditError, match=f"settings: {name}: expected a rate above 0"):
        read_rule({name: "0.0"}, MANIFEST)
