"""A sweep as a stream of events: list, tell suspects apart, ask, journal, write.

The coordinator is the only one that writes: the sweep's journal, which holds every answer, and its
table, which says what became of each pair. Audits of files come back whole and are in the journal
before their pair counts; whatever is killed when, a pair that counts is never asked again and only
what was under way is.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

from adapters.suspect import SuspectError
from audit.bundle.manifest import BundleContents
from audit.errors import AuditError
from audit.journal.journal import Journal
from audit.journal.sweep_results import ResultRow, results_of_file, results_of_suspect
from audit.journal.sweep_rows import NameRow, PairStatus
from audit.journal.sweep_table import PAGE, SweepTable
from audit.journal.transfer import put_audits
from audit.library_versions import environment_versions
from audit.records.from_journal import export_record
from audit.signing.keys import PrivateKey, Trust
from audit.suspects.found_files import SuspectKind
from audit.sweep.endpoint_engine import EndpointEngine
from audit.sweep.engine import Engine, Results
from audit.sweep.folder_lock import lock_folder
from audit.sweep.identity import identify, is_unchanged
from audit.sweep.listing import Entry, list_suspects
from audit.sweep.table_rows import (
    Candidate,
    bundle_row,
    candidates,
    name_row,
    output_rows,
    pair_row,
)
from audit.sweep.tasks import Parcel, SuspectTask, SweepSettings, TaskResult
from audit.verdict.p_values import benjamini_hochberg

TABLE = "sweep.sqlite"
JOURNAL = "journal.sqlite"
RECORDS = "records"
PAGE_NAME = "sweep.html"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Names were found; the last one says how many there are."""

    num_names: int
    is_complete: bool


@dataclass(frozen=True, kw_only=True)
class PairDone:
    """A row of the table's ``results`` is new."""

    row: ResultRow
    is_duplicate: bool
    """The suspect was asked under another name."""


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """Names whose suspects need nothing more."""

    num_done: int
    num_names: int


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Something that people should hear about: a worker died, another joined."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Swept:
    """All names of this listing are done."""

    num_names: int
    num_asked: int
    """Pairs that were asked in this run."""
    num_unasked: int
    """Endpoint files that lie in a folder and that nobody named: not asked, and no name."""
    cpu_s: float
    """CPU time of the workers, seconds."""


SweepEvent = Listed | PairDone | Progressed | Noted | Swept


@dataclass(frozen=True, kw_only=True)
class SweepBundle:
    """A bundle of a sweep."""

    path: Path
    data: bytes
    """The file."""
    contents: BundleContents


class Sweep:
    """A folder of results, and what it takes to fill it.

    Args:
        folder: Where table, journal, records and page are; made if it does not exist.
        bundles: What to ask with.
        settings: How every pair is asked.
        trust: Keys that signed the bundles.
        auditor_key: Signs a record of every pair; None writes none.
        retry_failed: Ask also what failed for a reason that lies in the suspect.
        again_after_s: Ask endpoints again whose answers are older; None never does.
        allow: What endpoint files may use in this run, besides what the user always allows; as
            for `audit.suspects.opening.open_remote`.

    Raises:
        AuditError: The folder cannot be used, or another sweep is at work in it.
    """

    def __init__(
        self,
        folder: Path,
        bundles: Sequence[SweepBundle],
        settings: SweepSettings,
        trust: Trust,
        *,
        auditor_key: PrivateKey | None = None,
        retry_failed: bool = False,
        again_after_s: float | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        self._folder, self._settings = folder, settings
        self._bundles = {one.contents.manifest_sha256: one for one in bundles}
        self._key, self._retry_failed = auditor_key, retry_failed
        self._again_after_s = again_after_s
        self.parcel = Parcel(
            bundles=tuple(one.data for one in bundles),
            trusted=trust.keys,
            settings=settings,
            versions=tuple(sorted(environment_versions().items())),
        )
        self.results: Results = Results()
        self._in_flight: dict[str, SuspectTask] = {}
        self._num_in_flight = {False: 0, True: 0}
        """Files and endpoints that are in flight."""
        self._has_new_names = False
        self._place: Path | None = None
        self._num_names = self._num_done = self._num_asked = self._num_unasked = 0
        self._cpu_s = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AuditError(f"results: cannot make {folder}: {error.strerror}") from error
        self._lock = lock_folder(folder)
        try:
            self.table = SweepTable(folder / TABLE)
            self._journal = Journal(folder / JOURNAL)
        except BaseException:
            os.close(self._lock)
            raise
        self._endpoints = EndpointEngine(
            {key: one.contents for key, one in self._bundles.items()},
            settings,
            self._journal,
            self.results,
            self._note_audit,
            allow,
        )

    def close(self) -> None:
        """End what is asked by this process, and close the files."""
        self._endpoints.close()
        self._journal.close()
        self.table.close()
        os.close(self._lock)

    def run(
        self, place: Path | None, engine: Engine, *, endpoints: Sequence[Path] = ()
    ) -> Iterator[SweepEvent]:
        """List the suspects, and ask what was not asked before.

        Args:
            place: A folder or a list. An endpoint file in a folder is not asked.
            engine: Asks files; was made with `parcel` and `results`.
            endpoints: Endpoint files that are asked besides, or instead.

        Yields:
            What happens; `Swept` last.

        Raises:
            AuditError: The list is wrong, the disk is full, the cluster is gone. What was asked
                until then is kept.
        """
        self._num_done = self._num_asked = 0
        self._cpu_s = 0.0
        self._place = place.absolute() if place is not None and place.is_dir() else None
        taken = set[int]()
        listing = self.table.begin(
            [
                bundle_row(one.path, one.contents, self._settings.asked_as(one.contents))
                for one in self._bundles.values()
            ],
            {"suspects": "" if place is None else str(place.absolute()), "began": time.time()},
        )
        yield from self._list(list_suspects(place, endpoints), listing)
        is_first = True
        while is_first or self._has_new_names:
            self._has_new_names = False
            for candidate in candidates(self.table):
                # Outputs of files become names when the file has been asked.
                is_output = candidate.entry.kind is SuspectKind.OUTPUT
                if candidate.file in taken or not (is_first or is_output):
                    continue
                if is_output:
                    taken.add(candidate.file)
                yield from self._take(candidate, engine)
                yield from self._collect()
            while self._in_flight:
                yield from self._collect(wait=True)
            is_first = False
        self.table.adjust(benjamini_hochberg)
        yield Swept(
            num_names=self._num_names,
            num_asked=self._num_asked,
            num_unasked=self._num_unasked,
            cpu_s=self._cpu_s,
        )

    def _list(self, entries: Iterator[Entry], listing: int) -> Iterator[SweepEvent]:
        self._num_names, page = 0, list[NameRow]()
        self._num_unasked = 0
        for entry in entries:
            if not entry.may_be_asked:
                self._num_unasked += 1
                continue
            page.append(name_row(entry))
            if len(page) == PAGE:
                self.table.note(page, listing)
                self._num_names += len(page)
                page.clear()
                yield Listed(num_names=self._num_names, is_complete=False)
        self.table.note(page, listing)
        self.table.end_listing(listing)
        self._num_names = self.table.num_names
        yield Listed(num_names=self._num_names, is_complete=True)

    def _take(self, candidate: Candidate, engine: Engine) -> Iterator[SweepEvent]:
        """Find out which suspect a name stands for, and have it asked if it is new."""
        if candidate.entry.problem:
            yield from self._refused(candidate)
            return
        is_known = candidate.suspect is not None and is_unchanged(
            candidate.entry.path.parent, self.table.beside(candidate.file)
        )
        suspect, sha256 = candidate.suspect, candidate.sha256
        if not is_known:
            try:
                identified = identify(
                    candidate.entry,
                    allow_plain_http=self._settings.allow_plain_http,
                    named_folder=self._folder_of(candidate.entry.path),
                )
            except SuspectError as error:
                self.table.refuse(candidate.file, str(error))
                yield from self._refused(candidate)
                return
            self.table.know(
                candidate.file,
                suspect=identified.key,
                sha256=identified.sha256,
                beside=identified.beside,
            )
            suspect, sha256 = identified.key, identified.sha256
        assert suspect is not None, "known by now"
        # Another name of what is asked just now; its rows come with the first one's.
        if suspect in self._in_flight:
            self._num_done += 1
            return
        is_endpoint = candidate.entry.kind is SuspectKind.ENDPOINT
        before = 0.0
        if is_endpoint and self._again_after_s is not None:
            before = time.time() - self._again_after_s
        missing = self.table.missing(suspect, retry_failed=self._retry_failed, asked_before=before)
        if not missing:
            self._num_done += 1
            if not is_known:
                rows = results_of_file(self.table, candidate.file)
                yield from (PairDone(row=row, is_duplicate=True) for row in rows)
            yield self._progress()
            return
        folder = self._folder_of(candidate.entry.path)
        task = SuspectTask(
            suspect=suspect,
            path=str(candidate.entry.path),
            kind=candidate.entry.kind,
            sha256=sha256,
            named_folder=None if folder is None else str(folder),
            bundles=tuple(one.bundle for one in missing),
            audits=tuple(
                one.audit if one.status is PairStatus.STOPPED else None for one in missing
            ),
        )
        asker = self._endpoints if is_endpoint else engine
        # However long the listing, no more is held than keeps the workers busy.
        while self._num_in_flight[is_endpoint] >= asker.capacity:
            yield from self._collect(wait=True)
        self._in_flight[suspect] = task
        self._num_in_flight[is_endpoint] += 1
        asker.submit(task)

    def _folder_of(self, path: Path) -> Path | None:
        place = self._place
        return place if place is not None and path.is_relative_to(place) else None

    def _refused(self, candidate: Candidate) -> Iterator[SweepEvent]:
        self._num_done += 1
        rows = results_of_file(self.table, candidate.file)
        yield from (PairDone(row=row, is_duplicate=False) for row in rows)
        yield self._progress()

    def _collect(self, *, wait: bool = False) -> Iterator[SweepEvent]:
        """Write what has come back; all of it at once, because the disk is waited for."""
        done: list[TaskResult] = []
        notes: list[str] = []
        with suppress(Empty):
            while True:
                # Waits for the first one only and takes along what has come besides.
                result = self.results.get(block=wait and not done and not notes)
                if isinstance(result, AuditError):
                    self._keep(done)
                    raise result
                if isinstance(result, str):
                    notes.append(result)
                else:
                    done.append(result)
        yield from (Noted(text=text) for text in notes)
        self._keep(done)
        for one in done:
            bundles = tuple(pair.bundle for pair in one.pairs)
            for row in results_of_suspect(self.table, one.task.suspect, bundles):
                yield PairDone(row=row, is_duplicate=row.suspect != one.task.path)
        if done:
            yield self._progress()

    def _keep(self, done: Sequence[TaskResult]) -> None:
        pairs = [pair for one in done for pair in one.pairs]
        # Answers first: a pair counts once it is in the table, and is never asked again from then
        # on.
        put_audits(self._journal, [pair.copy for pair in pairs if pair.copy is not None])
        for one in done:
            records = {
                pair.audit: self._record(pair.audit, one.task, pair.bundle)
                for pair in one.pairs
                if pair.audit is not None and pair.outcome is not None and self._key is not None
            }
            self.table.write(
                [pair_row(one.task, pair, worker=one.worker, records=records) for pair in one.pairs]
            )
            self._note_outputs(one)
            del self._in_flight[one.task.suspect]
            self._num_in_flight[one.task.kind is SuspectKind.ENDPOINT] -= 1
            self._num_done += 1
            self._num_asked += len(one.pairs)
            self._cpu_s += one.cpu_s

    def _note_outputs(self, result: TaskResult) -> None:
        """Let outputs that disagree be suspects of their own, under each name of their file."""
        outputs = dict.fromkeys(output for pair in result.pairs for output in pair.outputs)
        if not outputs:
            return
        names = self.table.names_of(result.task.suspect)
        self.table.note(output_rows(names, outputs), self.table.listing)
        self._num_names = self.table.num_names
        self._has_new_names = True

    def _record(self, audit: str, task: SuspectTask, bundle: str) -> str:
        """Sign and write a pair's record; returns its path within the sweep's folder."""
        assert self._key is not None, "asked for only with a key"
        name = f"{task.suspect[:16]}-{bundle[:12]}-{audit}.kinrecord"
        path = Path(RECORDS, task.suspect[:2], name)
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AuditError(f"record: cannot make {target.parent}: {error.strerror}") from error
        export_record(self._journal, audit, target, self._key)
        return path.as_posix()

    def _progress(self) -> Progressed:
        return Progressed(num_done=self._num_done, num_names=self._num_names)

    def _note_audit(self, suspect: str, bundle: str, audit: str) -> None:
        self.table.note_audit(suspect, bundle, audit, "coordinator")
