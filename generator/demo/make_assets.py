"""Make the demo's images and weights from CIFAR-10 (run once, results are committed).

    python -m generator.demo.make_assets --train TRAIN.zip [TRAIN.zip ...] --test TEST.zip

The training images are cut in two halves by their position in the class folder: the source's
(even) and everybody else's (odd). The weights are rounded to float16, which is what the demo loads.
Interrupted, it goes on where it stopped: each trained network is kept in ``--work``.
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from generator.demo import networks
from generator.demo.plans import MEAN, PLANS, STD, NetworkPlan
from generator.images.labelled import ImageSet
from generator.images.reading import load_images
from generator.sources.source import Normalised
from generator.training.loop import FreeAdversary, TrainingRecipe, to_unit_interval, train

HERE = Path(__file__).parent


def main() -> None:
    """Train what is missing, then write ``images.zip`` and ``weights.safetensors`` here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs="+", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("demo-assets"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    training, _ = load_images(options.train)
    test, _ = load_images([options.test])
    halves = _halves(training)
    _write_images(halves["source"], test)
    weights: dict[str, torch.Tensor] = {}
    for name, plan in PLANS.items():
        state = _trained(name, plan, halves[plan.half], test, options.work)
        weights |= {f"{name}/{key}": value for key, value in state.items()}
    save_file(weights, HERE / "weights.safetensors")


def _halves(training: ImageSet) -> dict[str, ImageSet]:
    position = np.zeros(len(training), dtype=np.int64)
    for label in range(len(training.class_names)):
        members = np.flatnonzero(training.labels == label)
        position[members] = np.arange(len(members))
    return {
        "source": training.take(np.flatnonzero(position % 2 == 0)),
        "other": training.take(np.flatnonzero(position % 2 == 1)),
    }


def _trained(
    name: str, plan: NetworkPlan, data: ImageSet, test: ImageSet, work: Path
) -> dict[str, torch.Tensor]:
    path = work / f"{name}.safetensors"
    if not path.exists():
        torch.manual_seed(plan.seed)  # initial weights: the factories take no generator
        network = getattr(networks, plan.factory)().to(memory_format=torch.channels_last)
        rng = np.random.default_rng(plan.seed)
        if plan.num_images < len(data):
            data = data.take(data.balanced_order(rng)[: plan.num_images])
        radius = plan.adversarial_radius / 255
        recipe = TrainingRecipe(
            epochs=plan.epochs, adversary=FreeAdversary(radius=radius) if radius else None
        )
        model = Normalised(network, MEAN, STD)
        targets = None if plan.teacher is None else _taught(plan.teacher, data, work)
        generator = torch.Generator().manual_seed(plan.seed)
        train(model, data, recipe, generator=generator, targets=targets)
        state = {
            key: value.half().contiguous() if value.is_floating_point() else value
            for key, value in network.state_dict().items()
        }
        save_file(state, path)
        accuracy = (_logits(model, test).argmax(1).numpy() == test.labels).mean()
        print(f"{name}: {accuracy:.4f} on {len(test)} test images", file=sys.stderr, flush=True)
    return load_file(path)


def _taught(teacher: str, data: ImageSet, work: Path) -> NDArray[np.float32]:
    """Return what a network that was trained before answers, ``[N, K]``, rounded as it ships."""
    network = getattr(networks, PLANS[teacher].factory)()
    state = load_file(work / f"{teacher}.safetensors")
    network.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    )
    model = Normalised(network, MEAN, STD)
    model.eval()
    return np.asarray(torch.softmax(_logits(model, data), dim=1).numpy())


def _logits(model: Normalised, data: ImageSet) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat(
            [
                model(to_unit_interval(batch))
                for batch in torch.split(torch.from_numpy(data.images), 500)
            ]
        )


def _write_images(source_half: ImageSet, test: ImageSet) -> None:
    rng = np.random.default_rng(0)
    test_order = test.balanced_order(rng)
    parts = {
        "owner": source_half.take(np.sort(source_half.balanced_order(rng)[:1500])),
        "held-out": test.take(np.sort(test_order[:1200])),
        "unseen": test.take(np.sort(test_order[1200:2100])),
    }
    if (HERE / "images.zip").exists():
        return
    with zipfile.ZipFile(HERE / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        for part, data in parts.items():
            for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
                encoded = io.BytesIO()
                Image.fromarray(image).save(encoded, "WEBP", lossless=True, quality=100, method=6)
                name = f"{part}/{data.class_names[label]}/{number:04d}.webp"
                archive.writestr(zipfile.ZipInfo(name), encoded.getvalue())


if __name__ == "__main__":
    main()
