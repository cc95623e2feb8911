"""A verdict in words: what was found, and what that rests on."""

from audit.verdict.outcome import ControlCheck, Likeness, ScoreOutcome, Verdict
from audit.verdict.random_answers import CHANCE_LEVEL
from audit.verdict.rule import MAX_REFUSED, MIN_QUERIES, DecisionRule
from audit.verdict.second_look import change_words, disagreement


def verdict_words(score: ScoreOutcome, rule: DecisionRule) -> str:
    """Return the verdict of a score in a few sentences."""
    if (changed := change_words(score)) is not None:
        return changed
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
        repeated = ""
        if score.repeats is not None and score.repeats.num_queries:
            repeated = (
                f" Asked again, it changed its answer to {score.repeats.num_queries_changed} of "
                f"{score.repeats.num_queries} queries."
            )
        # No proof of dice: whoever repeats itself may be an honest model of another kind.
        return (
            "The suspect knows the classes of the control images, but its answers to "
            f"{score.num_queries} queries agree with those of other models no more than chance "
            f"would, which is like neither kind of model.{repeated} A suspect that notices queries "
            "looks like that, and so does an honest model that is unlike all of the bundle's; it "
            "is called nothing. Innocent models of its kind, added with 'kinprint calibrate', can "
            "tell."
        )
    return " ".join([_found(score), *_undecided(score, rule), _rests_on(score), *_limits(score)])


def not_comparable_words(control: ControlCheck) -> str:
    """Return why a suspect cannot be compared, and what to look at."""
    return (
        f"The suspect got {control.accuracy:.0%} of {control.num_images} control images right, the "
        f"source {control.source_accuracy:.0%}; below {control.min_accuracy:.0%} the two cannot be "
        "compared. Look at the order of the classes, the colour order, the normalisation and the "
        "resizing."
    )


def no_copy_words(reason: str) -> str:
    """Return what it means that a suspect is cleared by an audit that looked for copies only."""
    return (
        f"No copy; extraction not looked for. {reason} Whether it learnt from this model's answers "
        "takes a line-up."
    )


def _found(score: ScoreOutcome) -> str:
    value = f"The score {score.value:z.3f}"
    if score.stopped_early:
        asked = f"{score.num_queries} of {score.num_in_bundle} queries"
        value = f"After {asked} the score {score.value:z.3f}"
    elif score.num_queries < MIN_QUERIES:
        answered = "1 query was" if score.num_queries == 1 else f"{score.num_queries} queries were"
        return f"Only {answered} answered; at least {MIN_QUERIES} are needed."
    match score.verdict:
        case Verdict.DERIVED:
            return f"{value} is above the threshold {score.derived_above:z.3f}."
        case Verdict.INDEPENDENT:
            return f"{value} is below the threshold {score.independent_below:z.3f}."
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
        if (told := disagreement(score)) is not None:
            return f"{value} is low, {told}"
    return f"{value} decides nothing."


def _undecided(score: ScoreOutcome, rule: DecisionRule) -> list[str]:
    """Return which of the two kinds the suspect may be of, and what to do about it."""
    if score.verdict is not Verdict.INCONCLUSIVE or score.num_queries < MIN_QUERIES:
        return []
    if score.derived_above is None or score.independent_below is None:
        return ["The bundle's models are too few for a verdict at these error rates."]
    thresholds = (
        f"Above {score.derived_above:z.3f} it would be derived, below "
        f"{score.independent_below:z.3f} independent."
    )
    if score.num_queries < score.num_in_bundle:
        return [
            thresholds,
            f"Asking ended after {score.num_queries} of {score.num_in_bundle} queries: ask the "
            "others.",
        ]
    told = {
        Likeness.NEITHER: (
            "It is like neither kind: higher than innocent models get, and lower than copies. A "
            "copy that was changed more than any of the bundle's, or a server that alters images, "
            "looks like that. Ask the operator what happens to images, and add such copies with "
            "'kinprint calibrate'."
        ),
        Likeness.BOTH: (
            "It is like both kinds: some innocent models get as high, and some derived ones are as "
            "low. A bundle with more queries or more models can tell."
        ),
        Likeness.INNOCENT: (
            "It is more like an innocent model than like a copy, but too near to copies to be "
            "cleared. A bundle with more queries can tell."
        ),
        Likeness.DERIVED: (
            "It is more like a copy than like an innocent model, but too near to innocents to be "
            "called derived. Ask the operator what happens to images, and add such copies with "
            "'kinprint calibrate'."
        ),
    }
    return [thresholds, told[score.likeness]]


def _rests_on(score: ScoreOutcome) -> str:
    kinds = len(score.strata)
    of_kinds = f"of {kinds} kind{'s' if kinds != 1 else ''}"
    if score.num_lineages == score.num_innocents:
        models = f"{score.num_innocents} innocent models {of_kinds}"
    else:
        models = f"{score.num_lineages} innocent lineages {of_kinds} ({score.num_innocents} models)"
    did = "scored" if not score.stopped_early else "ever got"
    high = "none" if score.num_as_high == 0 else str(score.num_as_high)
    smallest = ", the smallest that so many can give" if score.num_as_high == 0 else ""
    sentence = f"Of {models}, {high} {did} as high: p = {score.p_value:z.3f}{smallest}."
    if score.verdict is Verdict.INDEPENDENT:
        low = "none" if score.num_as_low == 0 else str(score.num_as_low)
        return (
            f"{sentence} Of {score.num_derived} derived models, {low} {did} as low: "
            f"p = {score.p_derived:z.3f}."
        )
    if kinds < 2:
        return sentence
    worst = max(score.strata, key=lambda kind: score.strata[kind])
    return f"{sentence} Taken alone, the kind '{worst}' says least: p = {score.strata[worst]:z.3f}."


def _limits(score: ScoreOutcome) -> list[str]:
    """Return what the numbers do not cover."""
    told = []
    if not score.has_equals and score.verdict is not Verdict.INDEPENDENT:
        told.append(
            "No innocent model is nearly as accurate as the source, so that p rests on weaker "
            "models only: a better one may score higher."
        )
    if score.blind_kinds and score.verdict is Verdict.INDEPENDENT:
        kinds = ", ".join(f"'{kind}'" for kind in score.blind_kinds)
        told.append(f"Copies of these kinds go unseen by this score: {kinds}.")
    return told
