"""The demo's line-up: the source among siblings that are embedded anyway, and who calibrates it.

Three networks of the demo were trained by the source's own recipe with other seeds. Three siblings
give no p-value below 1/4, so that a verdict ranks the source's lead among the panel's networks and
says so; a bundle that is to claim more takes nineteen (docs/line-up.md).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audit.bundle.line_up import LineUp, LineUpArrays, LineUpMember, LineUpModel, LineUpRecord
from audit.bundle.line_up import encode as encoded
from audit.bundle.manifest import Arrays
from generator.crafting.line_up_bound import choose_bound
from generator.crafting.line_up_questions import choose_questions
from generator.demo.assets import demo_images, demo_network
from generator.demo.plans import PLANS
from generator.pools.removal import add_weight_noise, prune, quantise_weights
from generator.sources.source import Normalised, weights_digest
from generator.sources.torch_suspect import TorchSuspect, answer_all
from generator.training.device import seeded

MEMBERS = ("source", "sibling", "reference.same_data.0", "reference.same_data.1")
"""Of one recipe; the source first."""
NUM_QUESTIONS = 400


def demo_line_up(
    arrays: Arrays, report: Callable[[str, int, int], None] = lambda stage, done, total: None
) -> LineUp:
    """Return the line-up.

    Args:
        arrays: Of the bundle that it goes into: its control images.
        report: Progress by stage.
    """
    images = demo_images("unseen").images
    members = [demo_network(name) for name in MEMBERS]
    codes = np.array([_codes(model, images) for model in members])
    chosen = choose_questions(codes, images, num_questions=NUM_QUESTIONS, seed="")
    questions = images[chosen]
    models = [*_panel(), *_derived(members[0])]
    answers: list[NDArray[np.float64]] = []
    for number, (_, model) in enumerate(models, start=1):
        answers.append(_log_probabilities(model, questions))
        report("line-up", number, len(models))
    line_up = LineUp(
        record=LineUpRecord(
            made_by="command",
            made_how="python -m generator.demo.make_assets",
            seed_commitment=None,
            source=0,
            members=tuple(
                LineUpMember(name=name, weights_sha256=_digest(model), seed=PLANS[name].seed)
                for name, model in zip(MEMBERS, members, strict=True)
            ),
            models=tuple(record for record, _ in models),
            form="logarithms",
            epsilon=0.02,
            lead_bound=1.0,
            arrays={},
            arrays_file_sha256="0" * 64,
        ),
        arrays=LineUpArrays(
            questions=questions,
            member_codes=codes[:, chosen],
            member_control_codes=np.array([_codes(model, arrays.controls) for model in members]),
            model_labels=np.array([one.argmax(axis=1) for one in answers]),
            model_codes=np.array([encoded(one) for one in answers]),
        ),
    )
    bound = choose_bound(line_up)
    return replace(line_up, record=line_up.record.model_copy(update={"lead_bound": bound}))


def _panel() -> Iterator[tuple[LineUpModel, Normalised]]:
    """Yield the innocents of other recipes."""
    for name, plan in PLANS.items():
        if name.startswith("reference.") and name not in MEMBERS:
            _, kind, _ = name.split(".")
            model = demo_network(name)
            told = f"{plan.factory} trained from scratch, {plan.half} half, seed {plan.seed}"
            yield _record(name, "innocent", kind.replace("_", " "), model, told), model


def _derived(source: Normalised) -> Iterator[tuple[LineUpModel, Normalised]]:
    """Yield models made from the source, which tell what the line-up finds."""
    changed: list[tuple[str, str, nn.Module]] = [
        *((f"pruned-{rate:.0%}", "pruned", prune(source, rate)) for rate in (0.1, 0.2, 0.3, 0.4)),
        *((f"{bits}-bit", "rounded", quantise_weights(source, bits)) for bits in (4, 5, 6, 8)),
        *((f"noise-{scale:.0%}", "noisy", _noisy(source, scale)) for scale in (0.02, 0.05)),
    ]
    for name, kind, model in changed:
        assert isinstance(model, Normalised)
        yield _record(name, "derived", kind, model, "made from the source"), model


def _noisy(source: nn.Module, scale: float) -> nn.Module:
    return add_weight_noise(source, scale, generator=seeded(7, f"noise {scale}"))


def _record(name: str, role: str, kind: str, model: Normalised, told: str) -> LineUpModel:
    return LineUpModel(
        name=name,
        role="innocent" if role == "innocent" else "derived",
        kind=kind,
        lineage=name,
        provenance=told,
        weights_sha256=_digest(model),
    )


def _digest(model: Normalised) -> str:
    return weights_digest(model.network)


def _codes(model: Normalised, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return encoded(_log_probabilities(model, images))


def _log_probabilities(model: Normalised, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what a model answers, ``[N, K]``."""
    return answer_all(TorchSuspect("demo", model), images)
