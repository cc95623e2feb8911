"""The auditor's side of an arena: every suspect asked with every bundle, through a real audit."""

import dataclasses
import hashlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from adapters.narrowed import LabelsOnly
from adapters.strict_model import FrozenModel
from adapters.suspect import Suspect
from audit.answer import Answer
from audit.asking.options import AuditOptions
from audit.asking.plan import scores_to_ask
from audit.asking.session import AuditSession
from audit.bundle.bundle_file import read_bundle
from audit.bundle.manifest import BundleContents
from audit.journal.journal import Journal
from audit.signing.canonical import canonical_bytes
from audit.verdict.judge import judge
from audit.verdict.rule import choose_rule
from benchmarks.arena.build import Built, Population, open_member, prepare_worker
from benchmarks.arena.config import ArenaConfig
from benchmarks.arena.data import load_data
from benchmarks.arena.ensembles import combinations
from benchmarks.arena.fingerprints import trust_of
from benchmarks.arena.processing import processings


class Asked(FrozenModel):
    """One suspect's result with one bundle."""

    bundle: str
    suspect: str
    kind: str
    """Attack or stratum; deployment changes are kinds of their own."""
    is_derived: bool
    accuracy: float
    """On the scoring images, without processing."""
    control_accuracy: float
    """On the bundle's control images, as deployed."""
    source_accuracy: float
    scores: dict[str, float]
    verdict: str
    """Of the deciding score with all queries."""
    early_verdict: str
    """Of an audit that stops early."""
    early_queries: int
    """Queries that it asks, control images not counted."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    config: ArenaConfig
    population: Population
    root: Path
    bundles: Mapping[str, Path]


def ask_everybody(
    config: ArenaConfig,
    population: Population,
    bundles: Mapping[str, Path],
    *,
    root: Path,
    workers: int,
    tell: Callable[[str], None],
) -> list[Asked]:
    """Ask all suspects, cached by bundle and suspect.

    Args:
        config: Which scores and processings.
        population: Who.
        bundles: Bundle files by fingerprint name.
        root: Folder of the images.
        workers: Processes.
        tell: Says how far it is.
    """
    job = _Job(config=config, population=population, root=root, bundles=bundles)
    suspects = population.of("derived", "innocent")
    rows: list[Asked] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker) as pool:
        waiting = {pool.submit(_ask_one, job, one) for one in suspects}
        for number, future in enumerate(as_completed(waiting), start=1):
            rows += future.result()
            tell(f"asked {number} of {len(suspects)} suspects")
    return sorted(rows, key=lambda row: (row.bundle, not row.is_derived, row.suspect))


def _ask_one(job: _Job, one: Built) -> list[Asked]:
    config = job.config
    data = load_data(config.data, job.root, job.population.folder, config.seed)
    known = {other.member.name: other for other in job.population.built}
    rows = []
    with ExitStack() as opened:

        @cache  # opened when first asked, for all bundles
        def suspect(name: str) -> Suspect:
            return opened.enter_context(closing(open_member(job.population, known[name], data)))

        for name, path in job.bundles.items():
            wanted = next(entry for entry in config.fingerprint if entry.name == name)
            bundle = read_bundle(path, trust_of())
            for way in _ways(config, one):
                told = {
                    "bundle": bundle.manifest_sha256,
                    "suspect": one.key,
                    "processing": way.label,
                    "scores": list(wanted.scores),
                    "answers": wanted.answers,
                    "seed": config.seed,
                }
                if way.partners:
                    told["partners"] = [known[partner].key for partner in way.partners]
                digest = hashlib.sha256(canonical_bytes(told)).hexdigest()[:24]
                kept = job.population.folder / "asked" / f"{digest}.json"
                if kept.is_file():
                    row = Asked.model_validate_json(kept.read_bytes())
                    # Another config may call the same bundle otherwise.
                    rows.append(row.model_copy(update={"bundle": name}))
                    continue
                shown = way.wrap(
                    suspect(one.member.name), [suspect(partner) for partner in way.partners]
                )
                if wanted.answers == "labels":
                    shown = LabelsOnly(shown)
                row = _audited(bundle, shown, wanted.scores, one, name, way)
                kept.parent.mkdir(exist_ok=True)
                partial = kept.with_suffix(".part")
                partial.write_text(row.model_dump_json(), encoding="utf-8")
                partial.replace(kept)
                rows.append(row)
    return rows


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One way in which a member is deployed."""

    kind: str
    label: str = ""
    """Of the processing."""
    partners: tuple[str, ...] = ()
    wrap: Callable[[Suspect, Sequence[Suspect]], Suspect] = lambda suspect, partners: suspect


def _ways(config: ArenaConfig, one: Built) -> Iterator[_Way]:
    """Yield every way in which a member is deployed."""
    yield _Way(kind=one.member.kind)
    if one.member.name not in config.processing.of:
        return
    for name, change in processings(config.processing, config.seed):

        def alone(
            suspect: Suspect,
            partners: Sequence[Suspect],
            change: Callable[[Suspect], Suspect] = change,
        ) -> Suspect:
            return change(suspect)

        yield _Way(kind=name, label=name, wrap=alone)
    for name, partners, combine in combinations(config.processing, config.seed):
        # Nobody is its own partner.
        if one.member.name not in partners:
            yield _Way(kind=name, label=name, partners=partners, wrap=combine)


def _audited(
    bundle: BundleContents,
    suspect: Suspect,
    scores: tuple[str, ...],
    one: Built,
    name: str,
    way: _Way,
) -> Asked:
    scores = scores or scores_to_ask(bundle, suspect)
    # Everybody is scored: the arena reports suspects of low accuracy apart itself.
    whole = _always_comparable(bundle)
    answers = _answers(whole, suspect, scores)
    outcome = judge(whole, answers, scores)
    early = judge(
        bundle,
        answers,
        scores[:1],
        choose_rule(bundle.manifest, alpha=None, beta=None, stop_early=True),
    )
    return Asked(
        bundle=name,
        suspect=f"{one.member.name} + {way.label}" if way.label else one.member.name,
        kind=way.kind,
        is_derived=one.member.role == "derived",
        accuracy=one.accuracy,
        control_accuracy=float(
            np.mean(
                [
                    answers[f"control/{index}"].label == known
                    for index, known in enumerate(bundle.arrays.control_labels)
                ]
            )
        ),
        source_accuracy=bundle.manifest.source.control_accuracy,
        scores={score.name: score.value for score in outcome.scores},
        verdict=judge(bundle, answers, scores[:1]).verdict.value,
        early_verdict=early.verdict.value,
        early_queries=early.scores[0].num_queries if early.scores else 0,
    )


def _answers(
    bundle: BundleContents, suspect: Suspect, scores: tuple[str, ...]
) -> Mapping[str, Answer]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        try:
            session = AuditSession(bundle, suspect, journal, AuditOptions(scores=scores))
            for _ in session.run():
                pass  # every answer is kept by the session
        finally:
            journal.close()
    return session.answers


def _always_comparable(bundle: BundleContents) -> BundleContents:
    """Return the bundle without its floor on control images."""
    manifest = bundle.manifest.model_copy(update={"min_control_agreement": 0.0})
    return dataclasses.replace(bundle, manifest=manifest)
