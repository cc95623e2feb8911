"""Where last layers lie: t-SNE of the heads of all models of the source's architecture.

The analogue of Figure 5 of MFUE (Xu et al., KDD 2026). A picture of who is near whom, not a
measure: extracted models share no weights with the source and have no reason to lie near it.
"""

from pathlib import Path

import numpy as np
import safetensors.numpy
from matplotlib import pyplot
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from benchmarks.arena.build import Population

_COLOURS = {"source": "black", "derived": "#e45756", "innocent": "#4c78a8", "reference": "#9ecae9"}
_HEAD = ("head.weight", "head.bias")
_MIN_MODELS = 5


def draw_heads(population: Population, path: Path, *, seed: int) -> None:
    """Draw one point a model, by role; nothing if there are too few of one shape.

    Args:
        population: Who.
        path: PNG file.
        seed: Of t-SNE.
    """
    found: list[tuple[str, NDArray[np.float32]]] = []
    shape: tuple[int, ...] = ()
    for one in population.built:
        weights = population.folder / one.key / "weights.safetensors"
        if not weights.is_file():
            continue
        state = safetensors.numpy.load_file(weights)
        if not set(_HEAD) <= set(state):
            continue
        if one.member.role == "source":
            shape = state["head.weight"].shape
        if state["head.weight"].shape == shape:
            head = np.concatenate([state[name].ravel() for name in _HEAD])
            found.append((one.member.role, head))
    if len(found) < _MIN_MODELS:
        return
    heads = np.stack([head for _, head in found])
    near = min(10.0, (len(found) - 1) / 3)
    points = TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(heads)
    figure, axes = pyplot.subplots(figsize=(6, 5), layout="constrained")
    for role, colour in _COLOURS.items():
        chosen = np.array([name == role for name, _ in found])
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            c=colour,
            label=f"{role} ({chosen.sum()})",
            marker="*" if role == "source" else "o",
            s=120 if role == "source" else 25,
        )
    axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
