"""What the result of an audit rests on, from the journal and, where it is at hand, the bundle.

The words are those of the report, the numbers those of the outcome; nothing is judged here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.printable import printable
from audit.answer import Answer
from audit.bundle.manifest import BundleContents, ModelRecord
from audit.journal.journal import Journal
from audit.records.against_bundle import record_rule
from audit.records.from_journal import draft_record, unsigned_preview
from audit.records.record import Record, State
from audit.report.data import agreement_of, facts_of
from audit.report.words import Words, words
from audit.scores.comparison import compare
from audit.scores.evidence import QueryEvidence, query_evidence, shown_evidence
from audit.scores.merged_classes import as_asked
from audit.suspects.found_files import FoundBundle
from audit.tui.widgets.plots.evidence_plot import Curve, curve_of
from audit.tui.widgets.plots.score_strip import StripData, strip_data
from audit.verdict.control_confusion import ControlConfusion, control_confusion
from audit.verdict.early_stop import path_boundaries
from audit.verdict.line_up import race_of
from audit.verdict.line_up_race import LineUpRace
from audit.verdict.outcome import Outcome, ScoreOutcome, Verdict
from audit.verdict.steps import crafted_score


@dataclass(frozen=True, kw_only=True)
class ResultData:
    """Everything on the result screen."""

    audit: str
    record: Record
    """Unsigned: for looking at."""
    outcome: Outcome | None
    state: State
    words: Words
    facts: dict[str, tuple[tuple[str, str], ...]]
    bundle: BundleContents | None
    bundle_path: Path | None
    answers: dict[str, Answer]
    strips: tuple[StripData, ...]
    """One per score; empty without the bundle."""
    curve: Curve | None
    race: LineUpRace | None
    """Of the deciding score or step, where that is a line-up."""
    evidence: QueryEvidence | None
    confusion: ControlConfusion | None
    """Where the control images went wrong."""

    def copied_text(self) -> str:
        """Return the result as plain text, to be pasted into a message."""
        lines = [self.words.headline, "", *self.words.found, *self.words.sureness]
        for score in self.outcome.scores if self.outcome else ():
            lines += ["", f"{score.name}: {score.value:.4f}. {score.reason}"]
        lines += ["", "What does not follow:", *self.words.beyond] if self.words.beyond else []
        opening = self.record.opening
        lines += [
            "",
            f"audit {self.audit}, started {opening.started}",
            f"bundle {opening.bundle.sha256}, signed by {opening.bundle.signer_key_id}",
            f"suspect {opening.suspect.name}, {opening.suspect.digest}",
        ]
        return "\n".join(lines) + "\n"

    def no_bundle(self, folder: Path) -> str:
        """Return what cannot be shown without the bundle, and what helps.

        Args:
            folder: Where it was looked for.
        """
        told = printable(str(folder))
        return (
            f"The bundle {self.record.opening.bundle.sha256[:16]} is not in {told}, so "
            "that images and the comparison models' scores cannot be shown. Open its folder with "
            "f on Home."
        )


def result_data(
    journal_path: Path,
    audit: str,
    *,
    bundle: BundleContents | None = None,
    bundle_path: Path | None = None,
    bundles: Iterable[FoundBundle] = (),
) -> ResultData:
    """Collect what there is to show.

    Args:
        journal_path: Where the audit is.
        audit: Its id.
        bundle: Its bundle, where it is open already.
        bundle_path: Its file.
        bundles: Where to look for it otherwise, by its digest.

    Raises:
        AuditError: There is no such audit, or it cannot be read.
    """
    journal = Journal(journal_path)
    try:
        draft = draft_record(journal, audit)
    finally:
        journal.close()
    record = unsigned_preview(draft)
    digest = record.opening.bundle.sha256
    if bundle is None or bundle.manifest_sha256 != digest:
        bundle, bundle_path = _bundle_with(digest, bundles)
    if bundle is not None:
        bundle = as_asked(bundle, record.opening.settings)
    answers, outcome = record.answers, record.closing.outcome
    scores = outcome.scores if outcome is not None else ()
    strips = tuple[StripData, ...]()
    curve: Curve | None = None
    race: LineUpRace | None = None
    evidence: QueryEvidence | None = None
    confusion = None
    if bundle is not None:
        strips = tuple(strip_data(score, _models(bundle, answers, score)) for score in scores)
        if outcome is not None and scores:
            crafted = crafted_score(outcome)
            first = crafted.stopped_after
            evidence = shown_evidence(
                bundle, answers, [score.name for score in scores], num_first=first
            )
            own = query_evidence(bundle, answers, crafted.name, num_first=first)
            rule = record_rule(record, bundle)
            if crafted.line_up is None:
                curve = curve_of(
                    crafted, own, boundaries=path_boundaries(bundle, rule, crafted.name)
                )
            race = race_of(bundle, answers, scores[0].name, rule)
        if outcome is not None and outcome.verdict is Verdict.NOT_COMPARABLE:
            confusion = control_confusion(bundle, answers)
    agreement = None
    if bundle is not None and evidence is not None:
        agreement = agreement_of(bundle, evidence)
    return ResultData(
        audit=audit,
        record=record,
        outcome=outcome,
        state=record.closing.state,
        words=words(record, agreement),
        facts=facts_of(record),
        bundle=bundle,
        bundle_path=bundle_path,
        answers=answers,
        strips=strips,
        curve=curve,
        race=race,
        evidence=evidence,
        confusion=confusion,
    )


def _models(
    bundle: BundleContents, answers: Mapping[str, Answer], score: ScoreOutcome
) -> tuple[tuple[ModelRecord, float], ...]:
    """Return the calibration models as the verdict compared them; none beside a line-up."""
    if score.line_up is not None:
        return ()
    found = compare(bundle, answers, score.name, num_first=score.stopped_after)
    return found.by_model(bundle)


def _bundle_with(
    digest: str, bundles: Iterable[FoundBundle]
) -> tuple[BundleContents | None, Path | None]:
    for found in bundles:
        if found.contents is not None and found.contents.manifest_sha256 == digest:
            return found.contents, found.path
    return None, None
