"""A verdict in words: what was found, and what that rests on."""

from audit.verdict.outcome import ControlCheck, ScoreOutcome, Verdict
from audit.verdict.random_answers import CHANCE_LEVEL
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule


def verdict_words(score: ScoreOutcome, rule: DecisionRule) -> str:
    """Return the verdict of a score in a few sentences."""
    if score.is_evasive and score.repeats and score.repeats.p_value <= CHANCE_LEVEL:
        again = score.repeats
        return (
            f"Asked again, the suspect changed its answer to {again.num_queries_changed} of "
            f"{again.num_queries} queries and to {again.num_controls_changed} of "
            f"{again.num_controls} control images, and more of its answers than any calibration "
            "model's are what no model is expected to say. It seems to notice queries and to "
            "answer them at random, which is like neither kind of model."
        )
    if score.is_evasive:
        return (
            "The suspect knows the classes of the control images, but its answers to "
            f"{score.num_queries} queries agree with those of other models no more than chance "
            "would. It seems to notice queries and to answer them at random, which is like neither "
            "kind of model."
        )
    found = _found(score) if score.e_value is None else _found_early(score, rule)
    return f"{found} {_rests_on(score)}"


def not_comparable_words(control: ControlCheck) -> str:
    """Return why a suspect cannot be compared, and what to look at."""
    return (
        f"The suspect got {control.accuracy:.0%} of {control.num_images} control images right, the "
        f"source {control.source_accuracy:.0%}; below {control.min_accuracy:.0%} the two cannot be "
        "compared. Look at the order of the classes, the colour order, the normalisation and the "
        "resizing."
    )


def _found(score: ScoreOutcome) -> str:
    value = f"The score {score.value:.3f}"
    if score.num_queries < MIN_QUERIES:
        answered = "1 query was" if score.num_queries == 1 else f"{score.num_queries} queries were"
        return f"Only {answered} answered; at least {MIN_QUERIES} are needed."
    match score.verdict:
        case Verdict.DERIVED:
            return f"{value} is above the threshold {score.derived_above:.3f}."
        case Verdict.INDEPENDENT:
            return f"{value} is below the threshold {score.independent_below:.3f}."
    if score.independent_below is not None and score.value < score.independent_below:
        refused = score.num_refused / max(1, score.num_queries)
        if refused > MAX_REFUSED:
            return (
                f"{value} is low, but the suspect refused {refused:.0%} of the queries, so that it "
                "is not called independent."
            )
        if refused + score.num_undecided / max(1, score.num_queries) > MAX_REFUSED:
            return (
                f"{value} is low, but of {score.num_undecided} triggers the suspect tells too "
                "little to say whether they match, so that it is not called independent."
            )
    return f"{value} lies between what innocent and what derived models reach.{_undecided(score)}"


def _undecided(score: ScoreOutcome) -> str:
    if score.derived_above is None or score.independent_below is None:
        return " The bundle's models are too few for a verdict at these error rates."
    return (
        f" Above {score.derived_above:.3f} it would be derived, below "
        f"{score.independent_below:.3f} independent."
    )


def _found_early(score: ScoreOutcome, rule: DecisionRule) -> str:
    start = (
        f"After {score.num_queries} of {score.num_in_bundle} queries it is certain enough (e-value "
        f"{score.e_value:.3g}, {1 / rule.stopping_error:.3g} needed) that the score over all of "
        "them is"
    )
    match score.verdict:
        case Verdict.DERIVED:
            return f"{start} above the threshold {score.derived_above:.3f}."
        case Verdict.INDEPENDENT:
            return f"{start} below the threshold {score.independent_below:.3f}."
    return (
        f"{start} neither above {score.derived_above:.3f} (derived) nor below "
        f"{score.independent_below:.3f} (independent): more queries would not decide."
    )


def _rests_on(score: ScoreOutcome) -> str:
    kinds = len(score.strata)
    models = f"{score.num_innocents} innocent models of {kinds} kind{'s' if kinds != 1 else ''}"
    told = "none" if score.num_as_high == 0 else str(score.num_as_high)
    if score.e_value is not None:
        if score.verdict is Verdict.INDEPENDENT:
            return f"The threshold rests on {models} and {score.num_derived} derived ones."
        bound = f"p is at most {score.p_value:.3f}"
    else:
        smallest = ", the smallest that so many can give" if score.num_as_high == 0 else ""
        bound = f"p = {score.p_value:.3f}{smallest}"
    sentence = f"Of {models}, {told} scored as high: {bound}."
    if kinds < 2 or score.verdict is Verdict.INDEPENDENT:
        return sentence
    worst = max(score.strata, key=lambda kind: score.strata[kind])
    return f"{sentence} Taken alone, the kind '{worst}' says least: p = {score.strata[worst]:.3f}."
