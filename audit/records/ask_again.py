"""Ask a suspect again what a record says it answered, and compare."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters.suspect import WEIGHTS, Capability, Suspect
from audit.answer import Answer
from audit.asking.plan import make_plan
from audit.asking.second_questions import possible_repeats
from audit.bundle.manifest import BundleContents
from audit.records.against_bundle import record_rule
from audit.records.check import Check, Status, failed, held
from audit.records.record import Record
from audit.records.weights_check import check_weights_again
from audit.verdict.judge import judge

MAX_DIFFERING = 0.01
"""Share of answers that another processor's rounding may turn over at most."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An answer that came out differently."""

    question: str
    recorded: int
    given: int
    """Class, -1 where there was none."""


@dataclass(frozen=True, kw_only=True)
class Reasked:
    """The answers of a second asking."""

    differences: tuple[Difference, ...]
    check: Check


def ask_again(record: Record, bundle: BundleContents, suspect: Suspect) -> Reasked:
    """Ask every recorded question again.

    Args:
        record: A record that was verified.
        bundle: The bundle it was made with.
        suspect: The suspect that it names, opened with the bundle's preprocessing.

    Returns:
        The differences, and whether they matter: the same file must give the same verdict and at
        least 99 % of the labels.

    Raises:
        SuspectError: The suspect did not answer.
    """
    name, expected = "asked again", record.opening.suspect.digest
    if suspect.identity.digest != expected:
        told = (
            f"suspect: expected the file with SHA-256 {expected}, got {suspect.identity.digest}"
            if record.opening.suspect.kind == "onnx"
            else "suspect: the record is about an endpoint or a function of the auditor's, a file "
            "cannot be compared with it"
        )
        return Reasked(differences=(), check=failed(name, told))
    weights = check_weights_again(record, suspect.identity.details.get(WEIGHTS))
    if weights is not None and weights.status is Status.FAILED:
        return Reasked(differences=(), check=weights)
    again = _answers(record, bundle, suspect)
    differences = tuple(
        Difference(question=row.question, recorded=row.label, given=again[row.question].label)
        for row in record.rows
        if again[row.question].label != row.label
    )
    told = f"{len(differences)} of {len(record.rows)} labels differ"
    if differences:
        told += f" ({', '.join(difference.question for difference in differences[:5])})"
    if len(differences) > MAX_DIFFERING * len(record.rows):
        return Reasked(differences=differences, check=failed(name, f"{told}; at most 1 % may."))
    recorded = record.closing.outcome
    if recorded is not None:
        outcome = judge(bundle, again, record.opening.scores, record_rule(record, bundle))
        if outcome.verdict is not recorded.verdict:
            told += f"; they give '{outcome.verdict}', the record says '{recorded.verdict}'."
            return Reasked(differences=differences, check=failed(name, told))
        told += f"; they give the same verdict, '{outcome.verdict}'"
    if weights is not None:
        told += f". {weights.text[:-1]}"
    return Reasked(differences=differences, check=held(name, f"{told}."))


def _answers(record: Record, bundle: BundleContents, suspect: Suspect) -> dict[str, Answer]:
    recorded = record.answers
    has_probabilities = any(one.log_probabilities is not None for one in recorded.values())
    answers: dict[str, Answer] = {}
    for questions, images in _batches(record, bundle, suspect.batch_size, recorded):
        predictions = suspect.predict(images)
        rows = predictions.log_probabilities if has_probabilities else None
        for position, question in enumerate(questions):
            answers[question] = Answer(
                label=int(predictions.labels[position]),
                log_probabilities=None if rows is None else rows[position],
            )
    return answers


def _batches(
    record: Record, bundle: BundleContents, size: int, asked: Mapping[str, Answer]
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    plan = make_plan(
        bundle, record.opening.scores, Capability[record.opening.settings["capability"]]
    )
    for group in (*plan.groups, *possible_repeats(plan)):
        due = [i for i in range(group.num_questions) if group.question(i) in asked]
        if not due:
            continue
        images = group.images()
        for start in range(0, len(due), size):
            part = due[start : start + size]
            yield [group.question(index) for index in part], images[part]
