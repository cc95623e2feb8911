"""Who would notice the audit: every fingerprint's images before a deployer's detectors.

The analogue of Table 2 of MFUE (Xu et al., KDD 2026). A detector knows the source model and its
training images; it is shown the images that an auditor sends and as many clean ones.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapters.strict_model import FrozenModel
from audit.bundle.bundle_file import read_bundle
from audit.signing.canonical import canonical_bytes
from benchmarks.arena.build import Population, load_network
from benchmarks.arena.detectors.daeit import LabelStability, TransformationClassifier
from benchmarks.arena.detectors.detection import Detector, evaluate
from benchmarks.arena.detectors.near_duplicates import NearDuplicates
from benchmarks.arena.detectors.scadn import SCADN
from benchmarks.arena.detectors.she import SHE
from benchmarks.arena.fingerprints import trust_of
from benchmarks.arena.make import Workshop

DETECTORS: dict[str, Callable[[], Detector]] = {
    "SHE": SHE,
    "SHE, two-sided": lambda: SHE(two_sided=True),
    "SCADN": SCADN,
    "DAEIT": TransformationClassifier,
    "label stability": LabelStability,
    "near duplicates": NearDuplicates,
}
PAPER_RECALL = {
    "SHE": {"mfue-w": 0.13, "mfue-b": 0.42, "adv-tra": 0.75, "metafinger": 0.80, "cae": 0.69},
    "SCADN": {"mfue-w": 0.25, "mfue-b": 0.30, "adv-tra": 0.61, "metafinger": 0.46, "cae": 0.49},
    "DAEIT": {"mfue-w": 0.00, "mfue-b": 0.23, "adv-tra": 0.98, "metafinger": 0.96, "cae": 0.97},
}
"""Of MFUE, Table 2, CIFAR-100, by detector and method; IPGuard has 0.77, 0.53 and 0.93 there."""
_MAX_IMAGES, _MIN_CLEAN, _MAX_TRAINING = 500, 100, 3000


class Seen(FrozenModel):
    """How well one detector sees one kind of images."""

    detector: str
    images: str
    num_images: int
    auroc: float
    auroc_interval: tuple[float, float]
    recall_at_1: float
    """Share of the images that is noticed where 1 % of clean ones are."""
    recall_at_5: float


def watch(
    population: Population,
    bundles: Mapping[str, Path],
    workshop: Workshop,
    *,
    tell: Callable[[str], None],
) -> list[Seen]:
    """Show every detector every bundle's images, cached by bundle and source.

    Args:
        population: Has the source.
        bundles: Bundle files by name.
        workshop: Has the images.
        tell: Says how far it is.
    """
    (source,) = population.of("source")
    data = workshop.data
    files: dict[Path, str] = {}
    for name, path in bundles.items():
        files.setdefault(path, name)  # several scores of one file send the same images
    shown = {name: images for path, name in files.items() for name, images in _sent(name, path)}
    found: list[Seen] = []
    for title, make in DETECTORS.items():
        detector: Detector | None = None
        for name, images in shown.items():
            told = {
                "detector": title,
                "images": hashlib.sha256(images.tobytes()).hexdigest(),
                "source": source.key,
            }
            digest = hashlib.sha256(canonical_bytes(told)).hexdigest()[:24]
            kept = population.folder / "seen" / f"{digest}.json"
            if not kept.is_file():
                if detector is None:
                    tell(f"training {title}")
                    detector = make()
                    model = load_network(population.folder, source.key, workshop)
                    training = np.asarray(data.owner.images[:_MAX_TRAINING])
                    detector.fit(model, training, data.owner.labels[:_MAX_TRAINING])
                kept.parent.mkdir(exist_ok=True)
                row = _seen(title, name, detector, images, np.asarray(data.scoring.images))
                partial = kept.with_suffix(".part")
                partial.write_text(row.model_dump_json(), encoding="utf-8")
                partial.replace(kept)
            found.append(
                Seen.model_validate_json(kept.read_bytes()).model_copy(update={"images": name})
            )
    return found


def _sent(name: str, path: Path) -> list[tuple[str, NDArray[np.uint8]]]:
    """Return what an auditor sends for a bundle, by the name of the score that needs it."""
    arrays = read_bundle(path, trust_of()).arrays
    sent = [(name, arrays.queries[:_MAX_IMAGES])]
    if len(arrays.triggers):
        sent.append((f"{name}: MFUE triggers", arrays.triggers[:_MAX_IMAGES]))
    return sent


def _seen(
    title: str,
    name: str,
    detector: Detector,
    images: NDArray[np.uint8],
    clean: NDArray[np.uint8],
) -> Seen:
    # A stateful detector compares sessions of the same length.
    result = evaluate(detector, clean[: max(len(images), _MIN_CLEAN)], images)
    return Seen(
        detector=title,
        images=name,
        num_images=len(images),
        auroc=result.auroc.value,
        auroc_interval=(result.auroc.low, result.auroc.high),
        recall_at_1=result.recall_at_1.value,
        recall_at_5=result.recall_at_5.value,
    )
