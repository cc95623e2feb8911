"""Suspects, bundles and engines for the tests of sweeps, made in milliseconds."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audit.journal.sweep_results import all_results
from audit.signing.keys import PrivateKey
from audit.sweep.asking import FileAsker
from audit.sweep.engine import Results
from audit.sweep.listing import read_bundles
from audit.sweep.run import Sweep, SweepBundle, SweepEvent
from audit.sweep.tasks import Parcel, SuspectTask, SweepSettings
from worlds.bundle_builder import GOLDEN_PUBLIC_KEY
from worlds.record_builder import GOLDEN_BUNDLE, TRUST, audited_bundle, copy_rule, innocent_rule
from worlds.screens.ui_desk import Rule, answering_model

SETTINGS: dict[str, Any] = {"device": "cpu", "num_threads": 1}


class HereEngine:
    """Asks in the test's own process: an engine without processes or machines."""

    capacity = 2

    def __init__(self, parcel: Parcel, results: Results) -> None:
        self.asked: list[SuspectTask] = []
        self._asker, self._results = FileAsker(parcel, "here"), results

    def submit(self, task: SuspectTask) -> None:
        self.asked.append(task)
        self._results.put(self._asker.ask(task))

    def close(self) -> None:
        self._asker.close()


class World:
    """A folder with bundles, suspects and a place for results."""

    def __init__(self, folder: Path, *, num_bundles: int = 1) -> None:
        self.folder = folder
        self.suspects, self.bundles = folder / "suspects", folder / "bundles"
        self.results, self.owner = folder / "results", folder / "owner.pub"
        self.suspects.mkdir()
        self.bundles.mkdir()
        shutil.copy(GOLDEN_PUBLIC_KEY, self.owner)
        shutil.copy(GOLDEN_BUNDLE, self.bundles / "first.kinprint")
        for number in range(1, num_bundles):
            audited_bundle(self.bundles / f"b{number}.kinprint", model_name=f"model {number}")

    def add(self, name: str, rule: Rule = innocent_rule) -> Path:
        """Write a suspect that is another file than every other one."""
        model = answering_model(rule)
        model.doc_string = name
        path = self.suspects / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path

    def add_some(self) -> None:
        """Write a copy and two strangers."""
        self.add("copy.onnx", copy_rule)
        self.add("stranger.onnx")
        self.add("deep/below/other.onnx")

    def command(self, *more: object, place: Path | None = None) -> list[str]:
        """Return the arguments of ``kinprint`` for this folder."""
        parts: list[object] = ["sweep", "--bundles", self.bundles, "--trust", self.owner]
        parts += ["--suspects", place or self.suspects, "-o", self.results, "--device", "cpu"]
        return [str(part) for part in (*parts, *more)]

    @contextmanager
    def sweep(
        self,
        *,
        auditor_key: PrivateKey | None = None,
        again_after_s: float | None = None,
        retry_failed: bool = False,
        allow: Sequence[str] = (),
        **changes: Any,
    ) -> Iterator[Sweep]:
        """Open the sweep."""
        opened = Sweep(
            self.results,
            [
                SweepBundle(path=path, data=data, contents=contents)
                for path, data, contents in read_bundles(self.bundles, TRUST)
            ],
            SweepSettings(**SETTINGS | changes),
            TRUST,
            auditor_key=auditor_key,
            again_after_s=again_after_s,
            retry_failed=retry_failed,
            allow=allow,
        )
        try:
            yield opened
        finally:
            opened.close()

    def run(
        self, *, place: Path | None = None, endpoints: Sequence[Path] = (), **changes: Any
    ) -> tuple[list[SweepEvent], list[SuspectTask], list[dict[str, Any]]]:
        """Sweep in this process; returns events, tasks and the table's rows by suspect."""
        with self.sweep(**changes) as sweep:
            engine = HereEngine(sweep.parcel, sweep.results)
            try:
                events = list(sweep.run(place or self.suspects, engine, endpoints=endpoints))
            finally:
                engine.close()
            return events, engine.asked, self.rows(sweep)

    def rows(self, sweep: Sweep) -> list[dict[str, Any]]:
        """Return the table's rows, by suspect and bundle."""
        found = sorted(all_results(sweep.table, 10_000), key=lambda row: (row.suspect, row.model))
        return [asdict(row) for row in found]


def names(rows: list[dict[str, Any]], column: str = "verdict") -> dict[str, Any]:
    """Return a column of the table by the suspects' file names."""
    return {Path(row["suspect"]).name: row[column] for row in rows}
