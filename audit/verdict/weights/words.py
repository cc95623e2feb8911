"""What a file's weights say, in words, and which of the two spoke: its answers or its weights."""

from audit.verdict.outcome import Outcome, Verdict
from audit.verdict.weights.weights_outcome import WeightsOutcome


def kinship_words(weights: WeightsOutcome) -> str:
    """Return what the weights say by themselves, in a few sentences."""
    return " ".join([_found(weights), *_limits(weights)])


def joint_words(outcome: Outcome, weights: WeightsOutcome, verdict: Verdict, alpha: float) -> str:
    """Return the text of a verdict by answers and weights.

    Args:
        outcome: By the answers alone.
        weights: What the weights say.
        verdict: Of both.
        alpha: Of both.
    """
    told = f"Its answers: {outcome.text} Its weights: {weights.reason}"
    told = f"{_HEADS[weights.decided_by]}{told}" if weights.decided_by else told
    if verdict is Verdict.INCONCLUSIVE and outcome.verdict is not verdict:
        told = f"Its answers clear it, but its weights do not. {told}"
    if weights.alpha is None:
        return told
    return (
        f"{told} Of innocent models at most a share of {alpha:.3g} is called derived: "
        f"{weights.answers_alpha:.3g} by answers, {weights.alpha:.3g} by weights."
    )


_HEADS = {
    "answers": "Derived by its answers; its weights do not say so. ",
    "weights": "Derived by its weights; its answers do not say so. ",
    "both": "Derived by its answers and by its weights. ",
}


def _found(weights: WeightsOutcome) -> str:
    num = len(weights.similarities)
    if weights.value is None:
        if not num:
            return "They could not be read within the limits, so that they say nothing."
        return (
            f"Not comparable: of the source's {num} layers the file has {weights.num_found}, so "
            "that weights say nothing."
        )
    score = (
        f"{weights.num_found} of the source's {num} layers are there, with a similarity of "
        f"{weights.value:z.3f} in the mean"
    )
    if weights.derived_above is None or weights.alpha is None:
        return (
            f"{score}. {weights.num_lineages} innocent lineages of such layers are too few for a "
            "verdict, so that this decides nothing."
        )
    place = "above" if weights.value > weights.derived_above else "not above"
    high = "none is" if weights.num_as_high == 0 else f"{weights.num_as_high} are"
    smallest = ", the smallest that so many can give" if weights.num_as_high == 0 else ""
    return (
        f"{score}, {place} the threshold {weights.derived_above:z.3f}. Of {weights.num_lineages} "
        f"innocent lineages {high} as similar: p = {weights.p_value:z.3f}{smallest}."
    )


def _limits(weights: WeightsOutcome) -> list[str]:
    told = []
    if weights.is_above_innocents and not weights.is_derived:
        told.append(
            "They are nearer to the source's than any innocent's, and not as near as those of "
            "copies. A copy that was trained on for long looks like that, and so does a network "
            "whose training began from the same random numbers."
        )
    if weights.is_derived and weights.num_reordered:
        told.append(
            f"In {weights.num_reordered} layers its filters stand in another order than the "
            "source's."
        )
    if weights.is_derived and weights.num_layers > weights.num_found:
        told.append(
            f"They are part of a network of {weights.num_layers} layers, which may be larger than "
            "the source."
        )
    if weights.num_hidden:
        told.append(
            f"The weights of {weights.num_hidden} layers of the file are computed when it runs, or "
            "are no finite numbers; that is unusual, and nothing is known of them."
        )
    if weights.num_beyond:
        told.append(f"{weights.num_beyond} further layers of the file were not looked at.")
    if weights.blind_kinds and not weights.is_derived:
        kinds = ", ".join(f"'{kind}'" for kind in weights.blind_kinds)
        told.append(f"Copies of these kinds go unseen by weights: {kinds}.")
    return told
