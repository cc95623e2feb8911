"""What would make the evidence of a record stronger, the cheapest first.

Only what is missing is named. Nothing here asks for a repetition until something pleases: more
evidence is another auditor's, or that of questions which this audit left open.
"""

from collections.abc import Sequence

from audit.records.check import Check, Status
from audit.records.record import Record, State
from audit.records.verify import ENDPOINT

_USUAL_P = 0.01
"""What is commonly called strong evidence."""


def stronger(record: Record, checks: Sequence[Check]) -> tuple[str, ...]:
    """Return what is missing, each one a sentence or two, in order of cost."""
    held = {check.name for check in checks if check.status is Status.HELD}
    outcome = record.closing.outcome
    told = list[str]()
    if "recomputation" not in held and outcome is not None:
        told.append(
            "The bundle, for nothing: with it (--bundle) the verdict is computed again from the "
            "signed answers."
        )
    if "commitment" not in held:
        told.append(
            "The owner's commitment (--commitment), for nothing if it was published in time: it "
            "shows that the questions are older than the suspect and were not chosen to fit it. It "
            "cannot be made up for afterwards."
        )
    if record.closing.state is not State.COMPLETE:
        told.append(
            f"The rest of this audit, for the questions that were left: after {len(record.rows)} "
            "answers it had not decided. kinprint audit --resume goes on."
        )
    told.append(_second_auditor(record))
    if (lineages := _missing_lineages(record)) is not None:
        told.append(lineages)
    return tuple(told)


def _second_auditor(record: Record) -> str:
    price = (
        f"about {len(record.rows)} questions to the service again"
        if record.opening.suspect.kind == ENDPOINT
        else "some minutes of a computer that has the file"
    )
    own = record.signer_key_id == record.opening.bundle.signer_key_id
    whom = "An auditor who is not the owner" if own else "A second auditor"
    return (
        f"{whom}, for {price}: that the suspect gave these answers is so far the word of one "
        f"party{', the owner' if own else ''}."
    )


def _missing_lineages(record: Record) -> str | None:
    outcome = record.closing.outcome
    # A line-up's p-value counts siblings of the source, too; how many more it takes is not 1 / p.
    if outcome is None or not outcome.scores or outcome.steps or outcome.scores[0].line_up:
        return None
    score = outcome.scores[0]
    if score.smallest_p_value <= _USUAL_P:
        return None
    needed = round(1 / _USUAL_P) - 1
    return (
        f"More innocent models in the bundle, for the training of each and a new audit: with "
        f"{score.num_lineages} of different origin no p-value can be below "
        f"{score.smallest_p_value:.2g}; {_USUAL_P:g} takes {needed}. kinprint calibrate adds them."
    )
