"""The owner's side of an arena: every bundle that suspects are asked with, crafted once and cached.

Crafting sees the source, its references and images of the owner only; no reported model is among
them. A bundle is made anew when the source, a setting or the crafting code changes.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audit.bundle.bundle_file import write_bundle
from audit.signing.canonical import canonical_bytes
from audit.signing.keys import PrivateKey, Trust
from benchmarks.arena.build import Population, load_network, open_member
from benchmarks.arena.config import ArenaConfig, ArenaError, Fingerprinting
from benchmarks.arena.make import Workshop, source_of
from generator.errors import GenerationError
from generator.images.splits import split_images
from generator.jobs.fingerprint import craft_fingerprint
from generator.jobs.mfue import Crafted, craft
from generator.jobs.remarks import remarks
from generator.methods.known_methods import load_method
from generator.pools.reference_kinds import KINDS
from generator.pools.references import PoolModel
from generator.settings import CraftSettings
from generator.sources.torch_suspect import TorchSuspect

CREATED = "2026-01-01T00:00:00Z"
_ROOT = Path(__file__).parents[2]
# An arena proves nothing to others: its key is no secret.
KEY = PrivateKey.from_seed(hashlib.sha256(b"arena").digest())


def trust_of() -> Trust:
    """Return the trust that opens an arena's bundles."""
    return Trust(keys=(KEY.public_key,))


def craft_bundles(
    config: ArenaConfig,
    population: Population,
    workshop: Workshop,
    *,
    cache: Path,
    tell: Callable[[str], None],
) -> dict[str, Path]:
    """Return the bundle file of every fingerprint by name; one that cannot be made is left out.

    Raises:
        ArenaError: None could be made.
    """
    bundles: dict[str, Path] = {}
    references: list[PoolModel] | None = None
    for wanted in config.fingerprint:
        path = cache / f"bundle-{wanted.method}-{_digest(config, population, wanted)}.kinprint"
        if not path.is_file():
            if references is None:
                references = _references(population, workshop)
            tell(f"crafting {wanted.name}")
            try:
                (crafted,) = _craft(config, population, workshop, wanted, references, cache)
            except GenerationError as error:
                tell(f"{wanted.name} cannot be crafted: {error}")
                continue
            for remark in remarks(crafted):
                tell(f"{wanted.name}: {remark}")
            write_bundle(path, crafted.manifest, crafted.arrays, KEY)
        bundles[wanted.name] = path
    if not bundles:
        raise ArenaError("fingerprint: none of the bundles could be crafted")
    return bundles


def _craft(
    config: ArenaConfig,
    population: Population,
    workshop: Workshop,
    wanted: Fingerprinting,
    references: Sequence[PoolModel],
    cache: Path,
) -> tuple[Crafted, ...]:
    (source,) = population.of("source")
    model = load_network(population.folder, source.key, workshop)
    data = workshop.data
    splits = split_images(
        data.owner,
        data.crafting,
        max_training=None,
        rng=np.random.default_rng([config.seed, 0x5714]),
    )
    given = source_of(workshop, model, hashlib.sha256(source.key.encode()).hexdigest())
    shared = {name: wanted.options[name] for name in wanted.options if name in _SETTINGS}
    own = {name: wanted.options[name] for name in wanted.options if name not in _SETTINGS}
    settings = CraftSettings.model_validate({"seed": config.seed, **shared}, strict=False)
    names: dict[str, Any] = {
        "model_name": f"arena-{config.name}-{wanted.method}",
        "owner": "arena",
        "created": CREATED,
        "work": cache / "craft",
    }
    (cache / "craft").mkdir(exist_ok=True)
    if wanted.method == "mfue":
        return craft(given, splits, references, settings, **names)
    method = load_method(wanted.method)
    options = method.options.model_validate(own, strict=False)
    return craft_fingerprint(given, splits, references, settings, method, options, **names)


_SETTINGS = frozenset(CraftSettings.model_fields)


def _references(population: Population, workshop: Workshop) -> list[PoolModel]:
    """Return the owner's innocents; those of the source's architecture with gradients."""
    references = []
    for one in population.of("reference"):
        kind = KINDS[int(one.member.settings["number"]) % len(KINDS)]
        network = None
        if kind.architecture == "source":
            network = load_network(population.folder, one.key, workshop)
        suspect = open_member(population, one, workshop.data)
        references.append(
            PoolModel(
                name=one.member.name,
                role="innocent",
                stratum=kind.stratum,
                provenance=f"{kind.stratum}, trained on the owner's images",
                weights_sha256=suspect.identity.digest,
                suspect=suspect if network is None else TorchSuspect(one.member.name, network),
                network=network,
            )
        )
        if network is not None:
            suspect.close()
    return references


def _digest(config: ArenaConfig, population: Population, wanted: Fingerprinting) -> str:
    code = hashlib.sha256()
    for path in sorted((_ROOT / "generator").rglob("*.py")):
        code.update(path.read_bytes())
    told = {
        "wanted": wanted.model_dump(exclude={"name", "scores", "answers"}),
        "seed": config.seed,
        "models": [one.key for one in population.of("source", "reference")],
        "code": code.hexdigest(),
    }
    return hashlib.sha256(canonical_bytes(told)).hexdigest()[:16]
