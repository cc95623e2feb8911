"""Audits of one suspect over time, as the commands tell of them."""

import json
from pathlib import Path

import pytest
from worlds.bundle_builder import OWNER_KEY
from worlds.dated_records import ENDPOINT, write_dated
from worlds.in_process import run
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    GOLDEN_RECORD,
    audited_bundle,
    audited_contents,
    copy_rule,
    fixed_draft,
    innocent_rule,
    interrupted,
)

NUM_MONTHS, TAKEN_OVER = 12, 5
"""Audits, and the place of the first one that finds a copy."""


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve audits of an endpoint that stands on a copy from the sixth on; the eighth broke off.

    Beside them is what does not belong there.
    """
    folder = tmp_path_factory.mktemp("months")
    bundle = audited_contents()
    innocent, copy = fixed_draft(bundle, innocent_rule), fixed_draft(bundle, copy_rule)
    for month in range(NUM_MONTHS):
        draft = innocent if month < TAKEN_OVER else copy
        if month == 7:
            draft = interrupted(copy, num_rows=9)
        write_dated(folder, draft, month + 1, days=30 * month, total=14)
    (folder / "a file.kinrecord").write_bytes(GOLDEN_RECORD.read_bytes())
    (folder / "changed.kinrecord").write_bytes(
        (folder / "03.kinrecord").read_bytes().replace(b'"label":3', b'"label":2', 1)
    )
    (folder / "twice.kinrecord").write_bytes((folder / "02.kinrecord").read_bytes())
    for name, key in (("owner", OWNER_KEY), ("auditor", AUDITOR_KEY)):
        (folder / f"{name}.pub").write_bytes(key.public_key.pem)
    return folder


def options(months: Path, bundle: Path = GOLDEN_BUNDLE) -> list[object]:
    return ["--bundle", bundle, "--trust", months / "owner.pub", "--trust", months / "auditor.pub"]


def test_a_year_of_audits_says_since_when_and_leaves_out_what_does_not_belong(
    months: Path,
) -> None:
    done = run("record", "timeline", months, *options(months), "--suspect", ENDPOINT, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["audits"]) == NUM_MONTHS
    assert document["audits"][7]["verdict"] is None
    assert document["since"]["verdict"] == "derived"
    # 150 days after the first of January, the record's first day
    assert document["since"]["begun"].startswith("2025-05-31")
    assert (document["since"]["num_agreeing"], document["since"]["num_silent"]) == (6, 1)
    assert document["since"]["before"] == document["audits"][TAKEN_OVER - 1]["digest"]
    changed = [bool(change["changed"]) for change in document["changes"]]
    assert changed == [month == TAKEN_OVER for month in range(1, NUM_MONTHS)]
    left_out = {Path(one["record"]).name: one["reason"] for one in document["left_out"]}
    assert set(left_out) == {"a file.kinrecord", "changed.kinrecord", "twice.kinrecord"}
    assert left_out["changed.kinrecord"].startswith("refused: ")
    text = " ".join(document["text"])
    assert "The auditor's journal counts 14 audits of this suspect; 12 are here." in text
    assert "Times are the auditor's word." in text


def test_the_page_plots_every_audit_and_names_what_is_left_out(
    months: Path, tmp_path: Path
) -> None:
    page = tmp_path / "year.html"
    done = run("record", "timeline", months, *options(months), "--suspect", ENDPOINT, "-o", page)
    assert done.returncode == 0, done.stderr
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 1
    assert "Derived since 2025-05-31 at the latest" in html
    assert "changed.kinrecord: refused: " in html
    assert "<script" not in html


def test_records_of_several_suspects_need_a_name(months: Path) -> None:
    done = run("record", "timeline", months, *options(months))
    assert done.returncode == 2
    assert f"got several: '{ENDPOINT}', 'suspect.onnx'; name one with --suspect" in done.stderr


def test_records_made_with_another_bundle_are_named(months: Path, tmp_path: Path) -> None:
    other = audited_bundle(tmp_path / "other.kinprint", model_name="another")
    done = run("record", "timeline", months / "01.kinrecord", *options(months, other))
    assert done.returncode == 2
    assert "01.kinrecord: made with another bundle, of 'audited-test-model'" in done.stderr


def test_the_earlier_of_two_audits_comes_first_whatever_their_order(months: Path) -> None:
    one, other = months / "05.kinrecord", months / "06.kinrecord"
    first = run("record", "diff", one, other, *options(months))
    assert first.returncode == 0, first.stderr
    assert first.stdout == run("record", "diff", other, one, *options(months)).stdout
    assert "24 of 24 queries" in " ".join(first.stdout.split())
    assert "independent" in first.stdout.split("derived")[0]


def test_two_audits_are_not_compared_if_one_does_not_hold_or_is_about_another(
    months: Path,
) -> None:
    changed = run(
        "record", "diff", months / "01.kinrecord", months / "changed.kinrecord", *options(months)
    )
    assert (changed.returncode, "changed.kinrecord: refused" in changed.stderr) == (13, True)
    other = run("record", "diff", months / "01.kinrecord", GOLDEN_RECORD, *options(months))
    assert other.returncode == 2
    assert "expected two audits of one suspect" in other.stderr


def test_audits_of_one_day_are_told_apart_by_their_time(months: Path, tmp_path: Path) -> None:
    draft = fixed_draft(audited_contents(), copy_rule)
    for number in (1, 2):
        write_dated(tmp_path, draft, number, days=0)
    done = run("record", "timeline", tmp_path, *options(months), "--json")
    # Both began in the same second: nothing tells them apart, and the finest time is shown.
    assert "Derived since 2025-01-01 12:00:00 at the latest" in json.loads(done.stdout)["text"][0]
    done = run("record", "timeline", tmp_path / "01.kinrecord", *options(months), "--json")
    assert "Derived since 2025-01-01 at the latest" in json.loads(done.stdout)["text"][0]
