"""What is advised is what is missing, the cheapest first."""

import dataclasses
from pathlib import Path

import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    TRUST,
    audited_contents,
    copy_rule,
    fixed_draft,
    interrupted,
    signed,
)

from audit.records.record import Draft, RecordedSuspect
from audit.report.data import ReportData, report_data
from audit.report.write import render_html, render_json, render_markdown
from audit.signing.keys import PrivateKey


@pytest.fixture(scope="module")
def draft() -> Draft:
    return fixed_draft(audited_contents(), copy_rule)


def report(
    folder: Path,
    draft: Draft,
    *,
    bundle: Path | None = GOLDEN_BUNDLE,
    key: PrivateKey = AUDITOR_KEY,
) -> ReportData:
    path = folder / "test.kinrecord"
    path.write_bytes(signed(draft, key))
    return report_data(path, bundle, TRUST)


def first_words(data: ReportData) -> list[str]:
    return [text.split(",")[0] for text in data.stronger]


def test_what_costs_least_stands_first(tmp_path: Path, draft: Draft) -> None:
    assert first_words(report(tmp_path, draft, bundle=None)) == [
        "The bundle",
        "The owner's commitment (--commitment)",
        "A second auditor",
        "More innocent models in the bundle",
    ]


def test_what_is_there_is_not_advised(tmp_path: Path, draft: Draft) -> None:
    assert "The bundle" not in first_words(report(tmp_path, draft))


def test_the_number_of_innocents_follows_from_the_smallest_p(tmp_path: Path, draft: Draft) -> None:
    told = report(tmp_path, draft).stronger[-1]
    # 3 strata of 7 models: 1 / (21 + 1) = 0.045; 1 / (99 + 1) = 0.01
    assert "with 21 of different origin no p-value can be below 0.045; 0.01 takes 99" in told


def test_an_owner_who_audits_is_told_to_find_somebody_else(tmp_path: Path, draft: Draft) -> None:
    assert "An auditor who is not the owner" in first_words(report(tmp_path, draft, key=OWNER_KEY))


def test_an_open_audit_is_to_be_ended_before_anything_is_bought(
    tmp_path: Path, draft: Draft
) -> None:
    told = first_words(report(tmp_path, interrupted(draft, num_rows=4), bundle=None))
    assert told[1:] == ["The rest of this audit", "A second auditor"]


def test_another_auditor_of_an_endpoint_pays_for_its_questions(
    tmp_path: Path, draft: Draft
) -> None:
    suspect = RecordedSuspect(kind="endpoint", name="https://a.example/b", digest="5" * 64)
    opening = draft.opening.model_copy(update={"suspect": suspect})
    data = report(tmp_path, dataclasses.replace(draft, opening=opening))
    # 8 control images and 24 queries
    assert any("about 32 questions to the service again" in text for text in data.stronger)


@pytest.mark.parametrize("render", [render_html, render_markdown, render_json])
def test_every_form_for_readers_says_it(tmp_path: Path, draft: Draft, render: object) -> None:
    assert callable(render)
    text = render(report(tmp_path, draft))
    assert "It cannot be made up for afterwards." in text
