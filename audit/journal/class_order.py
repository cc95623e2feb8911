"""The one change that answers in the journal ever see: into the order of classes that was found."""

from collections.abc import Mapping

from audit.answer import Answer
from audit.journal.journal import Journal
from audit.journal.json_text import decoded, encoded


def settle_class_order(
    journal: Journal,
    audit: str,
    *,
    settings: Mapping[str, str],
    details: Mapping[str, str],
    answers: Mapping[str, Answer],
) -> None:
    """Put all that an audit has so far into an order of classes, in one transaction.

    It is on the disk afterwards, or nothing of it is.

    Args:
        journal: Where the audit is.
        audit: Its id; it has run.
        settings: All of its settings from now on.
        details: What its runs say about the suspect besides what the last one does.
        answers: Its answers by question id, in the new order.

    Raises:
        JournalError: They could not be written.
    """
    file = journal.file
    ((told,),) = file.read_rows(
        "SELECT details_json FROM runs WHERE audit = ? ORDER BY run DESC LIMIT 1", (audit,)
    )
    with file.transaction():
        file.write_rows(
            "UPDATE audits SET settings_json = ? WHERE id = ?", [(encoded(settings), audit)]
        )
        file.write_rows(
            "UPDATE runs SET details_json = ? WHERE audit = ?",
            [(encoded({**decoded(told, audit), **details}), audit)],
        )
        file.write_rows(
            "UPDATE answers SET label = ?, log_probabilities = ? WHERE audit = ? AND question = ?",
            [
                (
                    answer.label,
                    None
                    if answer.log_probabilities is None
                    else answer.log_probabilities.tobytes(),
                    audit,
                    question,
                )
                for question, answer in answers.items()
            ],
        )
    journal.sync()
