"""Which queries tell derived models from innocents: natural, triggers, contrast.

    python -m benchmarks queries

Queries are chosen on selection models only; the rows below are calibration models and suspects that
had no part in it. For each kind of query: the score of every model, and AUC over all of them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.scores.likelihood_ratio import evidence_table, mean_evidence
from benchmarks.results_file import write_results
from generator.crafting.contrast import craft_contrast, runner_up
from generator.crafting.descent import DescentSettings
from generator.crafting.queries import choose_queries
from generator.crafting.views import views_of
from generator.demo.assets import demo_images, demo_network, demo_references, demo_source
from generator.images.splits import split_images
from generator.methods.mfue import craft_triggers
from generator.pools.copies import CopyImages, make_copies
from generator.pools.deployments import make_deployments
from generator.pools.mimics import MimicSettings, make_mimics
from generator.pools.references import PoolModel, networks, split_for_use, torch_pool_model
from generator.pools.removal import fine_tune, prune, train_adversarially
from generator.training.device import prepare_device, seeded

NUM_QUERIES, EPSILON = 100, 0.05


def main() -> int:
    """Craft once, score every model by every kind of query, print and store."""
    prepare_device("cpu")
    source, rng = demo_source().model, np.random.default_rng(0)
    splits = split_images(demo_images("owner"), demo_images("held-out"), max_training=None, rng=rng)
    mimics, _ = make_mimics(source, splits.training, MimicSettings(), seed=0)
    images = CopyImages(tuning=splits.tuning, training=splits.training)
    copies = make_copies(source, mimics, images, seed=0, hardening_epochs=3)
    derived, derived_rest = copies.selection, copies.calibration
    innocents, innocent_rest = split_for_use(demo_references())
    deployments, deployed_rest = make_deployments(
        source, networks(innocents), seed=0, is_mirrored=True
    )
    guilty = [*derived_rest, *deployed_rest, *_suspects(source)]
    cleared = [
        *innocent_rest,
        _named("sibling", demo_network("sibling"), "innocent"),
        _named("other architecture", demo_network("other_architecture"), "innocent"),
    ]
    natural = splits.candidates
    carriers = natural.take(natural.balanced_order(rng)[: round(1.5 * NUM_QUERIES)])
    targets = runner_up(source, carriers.images, carriers.labels)
    settings = DescentSettings(max_steps=40)

    def contrast(others: list[PoolModel]) -> NDArray[np.uint8]:
        return craft_contrast(
            [networks(derived)],
            [networks(others)] if others else [],
            carriers.images,
            targets,
            settings,
            epsilon=EPSILON,
            views=views_of(is_mirrored=True),
        ).images

    kinds: Mapping[str, NDArray[np.uint8]] = {
        "natural": natural.images,
        "triggers": craft_triggers(mimics, carriers.images, carriers.labels, settings).images,
        "contrast, no innocents": contrast([]),
        "contrast": contrast(innocents),
    }
    results = {}
    for kind, candidates in kinds.items():
        queries = choose_queries(
            [candidates],
            [[model.suspect for model in derived]],
            [model.suspect for model in deployments],
            [model.suspect for model in innocents],
            num_queries=NUM_QUERIES,
            epsilon=EPSILON,
            rng=np.random.default_rng(0),
        )
        table = evidence_table(
            queries.derived_probabilities, queries.innocent_probabilities, EPSILON
        )
        scores = {
            role: {
                model.name: round(
                    float(mean_evidence(table, model.suspect.predict(queries.images).labels)), 3
                )
                for model in models
            }
            for role, models in (("derived", guilty), ("innocent", cleared))
        }
        high, low = (np.array(list(scores[role].values())) for role in ("derived", "innocent"))
        auc = float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2)
        results[kind] = {"auc": round(auc, 4), "scores": scores}
        print(
            f"{kind:<24} AUC {auc:.3f}   derived {high.min():6.2f} to {high.max():5.2f}   "
            f"innocent {low.min():6.2f} to {low.max():5.2f}   ({len(high)} and {len(low)} models)",
            flush=True,
        )
    print(write_results("queries", {"queries": NUM_QUERIES, "epsilon": EPSILON}, results))
    return 0


def _suspects(source: nn.Module) -> list[PoolModel]:
    unseen = demo_images("unseen")
    hardened = train_adversarially(
        source, unseen, radius=8 / 255, epochs=3, steps=3, generator=seeded(9, "suspect")
    )
    made = {
        "copy": source,
        "fine-tuned": fine_tune(source, unseen, generator=seeded(7, "suspect")),
        "fine-tuned, new head": fine_tune(
            source, unseen, generator=seeded(8, "suspect"), retrain_last_layer=True
        ),
        "pruned 30 %": prune(source, 0.3),
        "pruned 60 %": prune(source, 0.6),
        "adversarially trained 8/255": hardened,
    }
    return [_named(name, model, "derived") for name, model in made.items()]


def _named(name: str, model: nn.Module, role: str) -> PoolModel:
    return torch_pool_model(
        model,
        name=name,
        role="derived" if role == "derived" else "innocent",
        stratum="suspect",
        provenance="benchmark",
    )
