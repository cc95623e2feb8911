"""The audits that a machine remembers: listed, exported, deleted; two processes; kill -9."""

import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worlds.bundle_builder import OWNER_KEY
from worlds.in_process import run
from worlds.raw_sql import run_sql
from worlds.record_builder import (
    AUDITOR_KEY,
    GOLDEN_BUNDLE,
    TRUST,
    FakeSuspect,
    audited_contents,
    copy_rule,
    finish_audit,
    innocent_rule,
)

from adapters.suspect import Predictions
from audit.asking.options import AuditOptions
from audit.asking.session import AuditSession
from audit.errors import AuditError, JournalError, NoJournalError
from audit.exit_codes import ExitCode, code_for_error
from audit.journal.audits import delete_audit
from audit.journal.journal import Journal
from audit.records.from_journal import (
    draft_record,
    export_record,
    find_audit,
    open_existing,
    stored_audits,
)
from audit.records.record import State, read_record
from audit.records.verify import Result, verify_record
from audit.signing.keys import write_key_pair
from audit.verdict.outcome import Verdict


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


class DyingSuspect(FakeSuspect):
    """Kills its own process instead of answering the fourth batch."""

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        if len(self.asked) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(images)


def test_every_finished_audit_is_remembered_the_newest_first(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    first = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    second = finish_audit(journal, FakeSuspect(bundle, innocent_rule), bundle)
    audits = stored_audits(journal)
    assert [audit.audit for audit in audits] == [second, first]
    verdicts = [audit.outcome.verdict for audit in audits if audit.outcome]
    assert verdicts == [Verdict.INDEPENDENT, Verdict.DERIVED]
    assert [audit.num_answers for audit in audits] == [35, 32]


def test_an_exported_audit_verifies(path: Path, tmp_path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    out = tmp_path / "out.kinrecord"
    digest = export_record(journal, audit, out, AUDITOR_KEY)
    verification = verify_record(out, GOLDEN_BUNDLE, TRUST)
    assert verification.result is Result.HOLDS
    record = read_record(out, TRUST)
    assert record.digest == digest
    # Batches of 5: the 8 controls in two requests, the 24 queries in five.
    assert [row.request for row in record.rows] == (
        [1] * 5 + [2] * 3 + [3] * 5 + [4] * 5 + [5] * 5 + [6] * 5 + [7] * 4
    )
    assert record.rows[0].metadata == {"variant": "blue"}
    assert record.opening.runs[0].details == {"device": "cpu"}


def test_an_audit_ended_by_its_budget_verifies_as_incomplete_and_then_goes_on(
    path: Path, tmp_path: Path
) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle, budget=15)
    out = tmp_path / "out.kinrecord"
    export_record(journal, audit, out, AUDITOR_KEY)
    verification = verify_record(out, GOLDEN_BUNDLE, TRUST)
    assert verification.result is Result.INCOMPLETE
    assert verification.outcome is not None
    assert verification.outcome.verdict is Verdict.INCONCLUSIVE
    suspect = FakeSuspect(bundle, copy_rule)
    list(AuditSession(bundle, suspect, journal, AuditOptions(resume=True)).run())
    export_record(journal, audit, out, AUDITOR_KEY)
    assert verify_record(out, GOLDEN_BUNDLE, TRUST).result is Result.HOLDS
    record = read_record(out, TRUST)
    assert [run.budget for run in record.opening.runs] == [15, None]
    assert sum(suspect.asked) == 32 - 15


def test_an_audit_that_was_broken_off_is_interrupted_until_it_ends(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    events = AuditSession(bundle, FakeSuspect(bundle, copy_rule), journal).run()
    next(events)
    (stored,) = stored_audits(journal)
    assert (stored.state, stored.outcome) == (State.INTERRUPTED, None)
    draft = draft_record(journal, stored.audit)
    assert (draft.state, draft.finished, draft.outcome) == (State.INTERRUPTED, None, None)
    list(events)
    ended = draft_record(journal, stored.audit)
    assert ended.state is State.COMPLETE
    assert ended.finished is not None


def test_a_killed_audit_is_remembered_exported_as_incomplete_and_resumed(
    path: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_audit_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    bundle, journal = audited_contents(), Journal(path)
    (stored,) = stored_audits(journal)
    # Two batches of controls, 5 and 3; the first 5 queries were perhaps still on their way.
    assert stored.state is State.INTERRUPTED
    assert stored.num_answers in (8, 13)
    out = tmp_path / "out.kinrecord"
    export_record(journal, stored.audit, out, AUDITOR_KEY)
    assert verify_record(out, GOLDEN_BUNDLE, TRUST).result is Result.INCOMPLETE
    list(
        AuditSession(
            bundle, FakeSuspect(bundle, copy_rule), journal, AuditOptions(resume=True)
        ).run()
    )
    export_record(journal, stored.audit, out, AUDITOR_KEY)
    assert verify_record(out, GOLDEN_BUNDLE, TRUST).result is Result.HOLDS


def test_a_file_that_is_no_journal_stays_as_it_was_and_is_a_wrong_argument(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes, " * 100)
    with pytest.raises(NoJournalError, match="expected a journal of Kinprint, got") as caught:
        Journal(path)
    assert code_for_error(caught.value) == ExitCode.USAGE
    assert path.read_bytes() == b"my notes, " * 100


def test_many_threads_can_make_the_same_new_journal_at_once(tmp_path: Path) -> None:
    def open_together(path: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        Journal(path).close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(100):
            path, barrier = tmp_path / f"{number}.sqlite", threading.Barrier(8)
            list(pool.map(open_together, [path] * 8, [barrier] * 8))


def test_two_processes_can_use_the_store_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_audit_three_times, args=(path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    audits = stored_audits(Journal(path))
    assert [audit.num_answers for audit in audits] == [32] * 6
    assert {audit.state for audit in audits} == {State.COMPLETE}


def test_an_audit_that_is_deleted_while_it_runs_ends_with_a_message(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    events = AuditSession(bundle, FakeSuspect(bundle, copy_rule), journal).run()
    next(events)
    other = Journal(path)
    delete_audit(other, stored_audits(other)[0].audit)
    with pytest.raises(JournalError, match=r"this audit was deleted from .* while it ran"):
        list(events)


def test_an_outcome_of_another_version_is_listed_without_its_verdict(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    run_sql(path, "UPDATE audits SET outcome_json = ?", '{"verdict": "derived"}')
    (stored,) = stored_audits(journal)
    assert (stored.state, stored.outcome, stored.num_answers) == (State.COMPLETE, None, 32)
    with pytest.raises(JournalError, match="judged by another version of Kinprint"):
        draft_record(journal, audit)


def test_a_deleted_audit_leaves_no_answer_behind(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    delete_audit(journal, audit)
    for table in ("audits", "runs", "answers"):
        assert run_sql(path, f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_an_id_is_found_by_its_beginning_and_never_guessed(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    assert find_audit(journal, audit[:4]) == audit
    for prefix in ("", "xyz"):
        with pytest.raises(AuditError, match="expected one whose id begins with"):
            find_audit(journal, prefix)


def test_a_journal_whose_manifest_was_changed_gives_no_record(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    run_sql(path, "UPDATE audits SET manifest = ?", b"{}")
    with pytest.raises(JournalError, match="a manifest in it is not the one"):
        draft_record(journal, audit)


@pytest.mark.parametrize("description", ["{", "[]", "null", '{"kind": "onnx"}'])
def test_a_journal_whose_suspect_was_changed_is_not_read(path: Path, description: str) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    run_sql(path, "UPDATE audits SET suspect_json = ?", description)
    with pytest.raises(JournalError, match=rf"audit {audit} cannot be read"):
        stored_audits(journal)
    with pytest.raises(JournalError, match=rf"audit {audit} cannot be read"):
        draft_record(journal, audit)


def test_a_store_that_is_there_is_opened(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    journal.close()
    assert [stored.audit for stored in stored_audits(open_existing(path))] == [audit]


def test_a_store_that_is_not_there_says_how_to_get_one(path: Path) -> None:
    with pytest.raises(AuditError, match=r"no audits yet in .* kinprint audit makes some"):
        open_existing(path)


def test_the_commands_list_show_export_and_delete(path: Path, tmp_path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    audit = finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
    journal.close()
    write_key_pair(tmp_path / "auditor.key", AUDITOR_KEY, "secret")
    (tmp_path / "owner.pub").write_bytes(OWNER_KEY.public_key.pem)
    listed = json.loads(_record("list", "--json", path=path))
    assert [(row["audit"], row["verdict"]) for row in listed["audits"]] == [(audit, "derived")]
    assert audit in _record("list", path=path)
    assert json.loads(_record("show", audit[:6], path=path))["outcome"]["verdict"] == "derived"
    out = tmp_path / "out.kinrecord"
    options = ["--auditor-key", str(tmp_path / "auditor.key"), "--passphrase-env", "KEY_PHRASE"]
    digest = _record("export", audit[:6], str(out), *options, path=path)
    assert digest.strip() == read_record(out, TRUST).digest
    _record("delete", audit, "--yes", path=path)
    assert json.loads(_record("list", "--json", path=path))["audits"] == []


def test_a_machine_without_audits_has_an_empty_list(path: Path) -> None:
    assert json.loads(_record("list", "--json", path=path))["audits"] == []
    assert not path.exists()


def _record(command: str, *arguments: str, path: Path) -> str:
    options = ["--journal", path]
    result = run("record", command, *arguments, *options, KEY_PHRASE="secret", COLUMNS="160")
    assert result.returncode == 0, result.stderr
    return result.stdout


def _audit_and_die(path: Path) -> None:
    bundle = audited_contents()
    list(AuditSession(bundle, DyingSuspect(bundle, copy_rule), Journal(path)).run())


def _audit_three_times(path: Path) -> None:
    bundle, journal = audited_contents(), Journal(path)
    for _ in range(3):
        finish_audit(journal, FakeSuspect(bundle, copy_rule), bundle)
