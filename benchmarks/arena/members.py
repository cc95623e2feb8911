"""Who is in an arena: every model by name, role, kind and how it is made.

Members that craft or calibrate are never reported, and no reported one shares images, seed or
setting with them.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from adapters.strict_model import FrozenModel
from audit.bundle.manifest import Scalar
from benchmarks.arena.config import ArenaConfig, Derived, Extraction, Recipe

Role = Literal[
    "source", "reference", "calibrating innocent", "calibrating copy", "derived", "innocent"
]
How = Literal[
    "train", "reference", "fine-tune", "prune", "harden", "extract", "quantise", "stranger"
]


class Member(FrozenModel):
    """One model."""

    name: str
    role: Role
    kind: str
    """Attack of a derived model, stratum of an innocent; members of a kind are a cluster."""
    how: How
    """Function of `benchmarks.arena.make`."""
    settings: dict[str, Scalar] = Field(default_factory=dict)
    """Its arguments."""
    parent: str | None = None
    """The model it is made from."""
    accuracy_matched: bool = False
    """An innocent that went through what derived models go through."""


def members(config: ArenaConfig, strangers: dict[str, str]) -> list[Member]:
    """Return everybody, parents before their children.

    Args:
        config: What the arena holds.
        strangers: Files of pretrained models by name.
    """
    recipe, calibration = config.recipe, config.calibration
    num_references = config.references.count
    source = Member(
        name="source", role="source", kind="source", how="train", settings=_full(recipe, "owner")
    )
    references = [
        Member(
            name=f"reference-{number:02d}",
            role="reference" if number < num_references else "calibrating innocent",
            kind="reference",
            how="reference",
            settings={"number": number, "epochs": config.references.epochs},
            parent="source",
        )
        for number in range(num_references + (calibration.innocents if calibration else 0))
    ]
    copies = _derived(calibration.copies, "calibrating copy", "own-") if calibration else ()
    return [
        source,
        *references,
        *copies,
        *_derived(config.derived, "derived", ""),
        *_innocents(config),
        *(
            Member(
                name=f"stranger-{name}",
                role="innocent",
                kind="strangers",
                how="stranger",
                settings={"file": file},
            )
            for name, file in strangers.items()
            if config.innocents.strangers
        ),
    ]


def _full(recipe: Recipe, images: str, **changes: Scalar) -> dict[str, Scalar]:
    return {
        "family": recipe.family,
        "width": recipe.width,
        "images": images,
        "epochs": recipe.epochs,
        **changes,
    }


def _derived(wanted: Derived, role: Role, prefix: str) -> Iterator[Member]:
    def one(kind: str, name: str, how: How, settings: dict[str, Scalar]) -> Member:
        return Member(
            name=prefix + name, role=role, kind=kind, how=how, settings=settings, parent="source"
        )

    if role == "derived":  # the plain copy is a suspect, so that it sets no threshold
        yield one("copy", "copy", "prune", {"rate": 0.0})
    for kind in wanted.fine_tuning:
        for rate in wanted.fine_tuning_rates:
            yield one(
                kind,
                f"{kind}-{rate:g}",
                "fine-tune",
                {"which": kind, "learning_rate": rate, "epochs": wanted.fine_tuning_epochs},
            )
    for rate in wanted.pruning:
        yield one("pruned", f"pruned-{rate:g}", "prune", {"rate": rate})
    for rate in wanted.pruning_tuned:
        yield one(
            "pruned, fine-tuned",
            f"pruned-{rate:g}-tuned",
            "prune",
            {"rate": rate, "epochs": wanted.fine_tuning_epochs},
        )
    for radius in wanted.adversarial_radii:
        yield one(
            "adversarially trained",
            f"hardened-{radius:g}",
            "harden",
            _hardening(wanted, radius),
        )
    for how in wanted.extraction:
        attack = "extracted, hard-label" if how.augmented else f"extracted, {how.answers}"
        altered = "-altered" if how.augmented else ""
        yield one(
            attack,
            f"extracted-{how.answers}-{how.images}-{how.family}{altered}",
            "extract",
            {"epochs": wanted.extraction_epochs, **how.model_dump()},
        )
    for quantised in wanted.quantised:
        yield one("quantised", quantised, "quantise", {"to": quantised})


def _innocents(config: ArenaConfig) -> Iterator[Member]:
    wanted, recipe, derived = config.innocents, config.recipe, config.derived

    def one(
        kind: str,
        name: str,
        settings: dict[str, Scalar],
        how: How = "train",
        *,
        parent: str | None = None,
        matched: bool = False,
    ) -> Member:
        return Member(
            name=name,
            role="innocent",
            kind=kind,
            how=how,
            settings=settings,
            parent=parent,
            accuracy_matched=matched,
        )

    for family, width in wanted.families.items():
        settings = _full(recipe, "attacker", family=family, width=width)
        yield one("other data", f"other-data-{family}", settings)
    for number in range(wanted.siblings):
        yield one("siblings", f"sibling-{number}", _full(recipe, "owner"))
    for number, radius in enumerate(wanted.adversarial_radii):
        images = ("owner", "attacker")[number % 2]
        settings = _full(recipe, images, radius=radius)
        yield one("adversarially trained", f"robust-{radius:g}-{images}", settings, matched=True)
    for number in range(wanted.distilled):
        # Teacher and student are both innocent; the teacher is reported, too.
        teacher = f"teacher-{number}"
        yield one("other data", teacher, _full(recipe, "attacker"))
        lesson = Extraction(
            answers="soft" if number % 2 == 0 else "hard",
            images="owner",
            family=recipe.family,
            width=recipe.width,
        )
        settings = {"epochs": derived.extraction_epochs, **lesson.model_dump()}
        yield one("distilled", f"student-of-{teacher}", settings, "extract", parent=teacher)
    for epochs in wanted.short_epochs:
        settings = _full(recipe, "attacker", epochs=epochs)
        yield one("short", f"short-{epochs:g}", settings, matched=True)
    for num_images in wanted.few_images:
        settings = _full(recipe, "owner", num_images=num_images)
        yield one("few images", f"few-{num_images}", settings, matched=True)
    first, second = "sibling-0", "sibling-1"
    for rate in wanted.pruned:
        name = f"pruned-{rate:g}-of-{first}"
        yield one("pruned", name, {"rate": rate}, "prune", parent=first, matched=True)
    for which in wanted.tuned:
        name = f"{which}-of-{second}"
        settings = {
            "which": which,
            "learning_rate": 0.01,
            "epochs": derived.fine_tuning_epochs,
        }
        yield one("fine-tuned", name, settings, "fine-tune", parent=second, matched=True)
    for radius in wanted.hardened_radii:
        name, settings = f"hardened-{radius:g}-of-{first}", _hardening(derived, radius)
        yield one("hardened", name, settings, "harden", parent=first, matched=True)
    for family, width in wanted.relearned.items():
        settings = _full(
            recipe, "attacker", family=family, width=width, epochs=derived.extraction_epochs
        )
        yield one("relearned", f"relearned-{family}", settings, matched=True)


def _hardening(wanted: Derived, radius: float) -> dict[str, Scalar]:
    return {
        "radius": radius,
        "epochs": wanted.adversarial_epochs,
        "steps": wanted.adversarial_steps,
    }
