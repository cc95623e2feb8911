"""Bundles with the error rates of a config: more models answer, as in ``kinprint calibrate``."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from audit.bundle.bundle_file import read_bundle, write_bundle
from audit.bundle.manifest import BundleContents
from audit.calibrating.model_folder import ask_everything
from audit.calibrating.recalibrate import NewModel, outliers, recalibrate, without_known
from audit.signing.canonical import canonical_bytes
from benchmarks.arena.build import Built, Population, open_member
from benchmarks.arena.config import Calibration
from benchmarks.arena.data import ArenaData
from benchmarks.arena.fingerprints import CREATED, KEY, trust_of


def recalibrated_bundles(
    wanted: Calibration,
    population: Population,
    bundles: Mapping[str, Path],
    data: ArenaData,
    *,
    tell: Callable[[str], None],
) -> dict[str, Path]:
    """Return the bundles with more calibration models, cached; none of them is held out.

    Args:
        wanted: The rates.
        population: Holds the models.
        bundles: Files by fingerprint name.
        data: Says how the models take images.
        tell: Says what is asked.

    Raises:
        AuditError: Too few models for a rate.
    """
    models = population.of("calibrating innocent", "calibrating copy")
    told = {"rates": [wanted.alpha, wanted.beta], "models": [one.key for one in models]}
    digest = hashlib.sha256(canonical_bytes(told)).hexdigest()[:16]
    made = {}
    for name, path in bundles.items():
        made[name] = path.with_name(f"{path.stem}-{digest}.kinprint")
        if made[name].is_file():
            continue
        tell(f"calibrating {name} with {len(models)} models")
        bundle = read_bundle(path, trust_of())
        asked = [_asked(bundle, population, one, data) for one in models]
        new, left_out = without_known(bundle, asked)
        for sentence in left_out:
            tell(f"left out: {sentence}")
        # All are known to be what they are called: who scores oddly calibrates, too.
        for one in outliers(bundle, new):
            tell(f"{one.answers.name} scores like derived models")
        done = recalibrate(
            bundle, new, alpha=wanted.alpha, beta=wanted.beta, report_share=0, created=CREATED
        )
        write_bundle(made[name], done.manifest, done.arrays, KEY)
    return made


def _asked(bundle: BundleContents, population: Population, one: Built, data: ArenaData) -> NewModel:
    suspect = open_member(population, one, data)
    try:
        answers = ask_everything(bundle, suspect, population.onnx(one))
    finally:
        suspect.close()
    return NewModel(
        role="derived" if one.member.role == "calibrating copy" else "innocent",
        stratum=one.member.kind,
        lineage=None,
        answers=dataclasses.replace(answers, name=one.member.name),
    )
