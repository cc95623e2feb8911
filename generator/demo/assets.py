"""What ships with the demo: labelled CIFAR-10 images and small trained networks."""

from pathlib import Path

import safetensors

from generator.demo import networks
from generator.demo.plans import MEAN, PLANS, STD
from generator.images.labelled import ImageSet
from generator.images.reading import load_images
from generator.pools.references import PoolModel, torch_pool_model
from generator.sources.contract import InputContract
from generator.sources.source import Normalised, Source, ready, weights_digest

HERE = Path(__file__).parent


def demo_images(part: str) -> ImageSet:
    """Return a part of the sample.

    Args:
        part: ``owner`` (the source was trained on them), ``held-out`` or ``unseen`` (it was not;
            the thief fine-tunes on the latter).
    """
    images, _ = load_images([HERE / "images.zip" / part])
    return images


def demo_network(name: str) -> Normalised:
    """Return a trained network by its name in `generator.demo.plans.PLANS`."""
    network = getattr(networks, PLANS[name].factory)()
    prefix = f"{name}/"
    with safetensors.safe_open(HERE / "weights.safetensors", "pt") as weights:
        state = {
            key.removeprefix(prefix): weights.get_tensor(key)
            for key in weights.keys()  # noqa: SIM118 (no mapping)
            if key.startswith(prefix)
        }
    # The file holds float16; these are the model's weights, in float32 from here on.
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    )
    return ready(Normalised(network, MEAN, STD))


def demo_source() -> Source:
    """Return the model that the demo's owner wants to protect."""
    model = demo_network("source")
    factory = PLANS["source"].factory
    return Source(
        model=model,
        factory=getattr(networks, factory),
        architecture=f"generator.demo.networks:{factory}",
        weights_sha256=weights_digest(model.network),
        contract=InputContract(mean=MEAN, std=STD),
    )


def demo_references() -> list[PoolModel]:
    """Return the innocent models that thresholds rest on."""
    references = []
    for name, plan in PLANS.items():
        if name.startswith("reference."):
            _, stratum, _ = name.split(".")
            references.append(
                torch_pool_model(
                    demo_network(name),
                    name=name.removeprefix("reference."),
                    role="innocent",
                    stratum=stratum.replace("_", " "),
                    provenance=f"{plan.factory} trained from scratch on {plan.num_images} CIFAR-10 "
                    f"images ({plan.half} half), {plan.epochs:g} epochs, seed {plan.seed}"
                    + (
                        f", adversarially at {plan.adversarial_radius:g}/255"
                        if plan.adversarial_radius
                        else ""
                    ),
                )
            )
    return references
