from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from worlds.tiny_task import CLASSES, tiny_images, tiny_net, trained_net

from audit.bundle.probes import make_probes, probe_digest
from generator.crafting.contrast import craft_contrast
from generator.crafting.descent import DescentSettings
from generator.crafting.ensemble import Ensemble
from generator.crafting.probing import find_probes
from generator.crafting.queries import choose_queries
from generator.methods.mfue import craft_triggers
from generator.pools.copies import CopyImages, make_copies
from generator.pools.mimics import MimicSettings, make_mimics
from generator.pools.removal import add_weight_noise, fine_tune, prune, train_adversarially
from generator.sources.torch_suspect import TorchSuspect, predict_logits
from generator.training import loop as training
from generator.training.device import seeded
from generator.training.loop import FreeAdversary, PGDAdversary, TrainingRecipe, train


class Linear(nn.Module):
    """Logits are a fixed linear map of the pixels: margins and gradients are known by hand."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ self.weights.T


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return trained_net(1, tiny_images(300, 1))


def test_triggers_of_a_linear_model_reach_the_corner_that_minimises_the_loss() -> None:
    # Two classes, w_0 = -w_1: the loss of class 0 falls along sign(w_0) until the radius ends.
    rng = np.random.default_rng(0)
    w = rng.choice([-1.0, 1.0], size=12)
    model = Linear(torch.tensor(np.stack([w, -w]), dtype=torch.float32))
    carrier = np.full((1, 2, 2, 3), 100, dtype=np.uint8)
    settings = DescentSettings(radius=8, min_improvement=0.0)
    triggers = craft_triggers([model, model], carrier, np.array([0]), settings)
    # [C, H, W] weights -> [H, W, C] pixels
    signs = w.reshape(3, 2, 2).transpose(1, 2, 0)
    assert triggers.images[0].tolist() == (100 + 8 * signs).astype(int).tolist()


def test_triggers_stay_within_the_radius_and_never_raise_the_loss(source: nn.Module) -> None:
    data = tiny_images(20, 5)
    before, _ = Ensemble([source]).losses_and_gradients(data.images, data.labels)
    triggers = craft_triggers([source], data.images, data.labels, DescentSettings(radius=3))
    moved = triggers.images.astype(int) - data.images.astype(int)
    assert np.abs(moved).max() == 3
    assert (triggers.losses <= before).all()
    again, _ = Ensemble([source]).losses_and_gradients(triggers.images, data.labels)
    # The loss that is reported is that of the finished 8-bit image.
    assert again == pytest.approx(triggers.losses, rel=1e-5)


def test_the_pools_gradient_is_the_mean_over_its_members() -> None:
    a = torch.tensor([[1.0, -2.0, 0.5] * 4, [0.0] * 12])
    b = torch.tensor([[-3.0, 1.0, 0.5] * 4, [0.0] * 12])
    images = np.full((1, 2, 2, 3), 50, dtype=np.uint8)
    label = np.array([0])
    losses = [Ensemble([Linear(w)]).losses_and_gradients(images, label)[0] for w in (a, b)]
    both, _ = Ensemble([Linear(a), Linear(b)]).losses_and_gradients(images, label)
    assert both == pytest.approx(np.mean(losses, axis=0), rel=1e-6)


def test_large_images_are_computed_in_small_batches_with_the_same_result() -> None:
    weights = torch.randn(2, 3 * 96 * 96, generator=torch.Generator().manual_seed(0)) * 0.01
    model = Linear(weights)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 96, 96, 3), dtype=np.uint8)  # 7 fit into one micro-batch
    labels = np.zeros(9, dtype=np.int64)
    whole, signs = Ensemble([model]).losses_and_gradients(images, labels)
    for i in range(9):
        alone, sign = Ensemble([model]).losses_and_gradients(images[i : i + 1], labels[:1])
        assert alone == pytest.approx(whole[i : i + 1], rel=1e-5)
        assert (sign == signs[i : i + 1]).all()


@pytest.mark.parametrize("kind", ["ascent", "noise"])
def test_about_half_of_a_usable_triggers_probes_cross_the_sources_boundary(
    source: nn.Module, kind: str
) -> None:
    data = tiny_images(30, 6)
    found = find_probes(
        source,
        data.images,
        data.labels,
        kind=kind,  # type: ignore[arg-type]  # a literal from the list above
        num_probes=20,
        num_wanted=10,
        seed=bytes(32),
        rng=np.random.default_rng(0),
    )
    assert len(found.kept) > 3
    for index, position in enumerate(found.kept):
        images = make_probes(
            index,
            data.images[position],
            found.ends[index],
            int(found.alphas[index]),
            kind=found.settings.kind,
            num_probes=20,
            seed=bytes(32),
        )
        assert probe_digest(images) == found.settings.digests[index]
        given = predict_logits(source, images).argmax(axis=1)
        assert given.tolist() == found.source_labels[index].tolist()
        assert 0.4 <= (given == data.labels[position]).mean() <= 0.6


def test_mimics_drift_from_the_source_and_from_each_other(source: nn.Module) -> None:
    data = tiny_images(120, 1)
    pool, found = make_mimics(source, data, MimicSettings(num_mimics=3, batch_size=32), seed=0)
    weights = [model.state_dict()["network.conv.weight"] for model in [source, *pool]]
    distances = [float((w - weights[0]).norm()) for w in weights]
    assert found == 0
    assert 0 == distances[0] < distances[1] < distances[2] < distances[3]


def test_mimic_training_updates_batch_norm_statistics(source: nn.Module) -> None:
    settings = MimicSettings(num_mimics=1, batch_size=32)
    (mimic,), _ = make_mimics(source, tiny_images(96, 1), settings, seed=0)
    name = "network.bn.running_mean"
    assert not torch.equal(mimic.state_dict()[name], source.state_dict()[name])


def test_an_interrupted_pool_goes_on_and_ends_with_the_same_weights(
    source: nn.Module, tmp_path: Path
) -> None:
    data, settings = tiny_images(96, 1), MimicSettings(num_mimics=3, batch_size=32)
    whole, _ = make_mimics(source, data, settings, seed=4)

    def interrupt(done: int, total: int) -> None:
        if done > 2 * total // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_mimics(source, data, settings, seed=4, work=tmp_path, on_step=interrupt)
    resumed, found = make_mimics(source, data, settings, seed=4, work=tmp_path)
    assert found == 2
    for one, other in zip(whole, resumed, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_checkpoints_of_another_run_are_not_taken_up(source: nn.Module, tmp_path: Path) -> None:
    data, settings = tiny_images(96, 1), MimicSettings(num_mimics=1, batch_size=32)
    make_mimics(source, data, settings, seed=1, work=tmp_path)
    assert make_mimics(source, data, settings, seed=2, work=tmp_path)[1] == 0


def test_pruning_zeroes_exactly_the_asked_share_of_the_weights(source: nn.Module) -> None:
    pruned = prune(source, 0.4)
    weights = [m.weight for m in pruned.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    num, zero = sum(w.numel() for w in weights), sum(int((w == 0).sum()) for w in weights)
    assert zero == round(0.4 * num)
    name = "network.bn.weight"
    assert torch.equal(pruned.state_dict()[name], source.state_dict()[name])


def test_fine_tuning_the_head_leaves_the_trunk_and_its_statistics_alone(source: nn.Module) -> None:
    tuned = fine_tune(
        source, tiny_images(60, 9), generator=seeded(0), epochs=2, last_layer_only=True
    )
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, tuned.state_dict()[name]) == ("head" not in name), name


def test_retraining_the_head_draws_weight_and_bias_afresh(source: nn.Module) -> None:
    tuned = fine_tune(
        source, tiny_images(64, 9), generator=seeded(0), epochs=0.1, retrain_last_layer=True
    )
    for part in ("weight", "bias"):
        new, old = (model.state_dict()[f"network.head.{part}"] for model in (tuned, source))
        assert not torch.isclose(new, old).any()


def test_removals_leave_the_source_as_it_was(source: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    data = tiny_images(64, 9)
    prune(source, 0.5)
    add_weight_noise(source, 0.3, generator=seeded(0))
    fine_tune(source, data, generator=seeded(0), epochs=1)
    train_adversarially(source, data, radius=2 / 255, generator=seeded(0), epochs=1, steps=2)
    assert all(torch.equal(before[n], t) for n, t in source.state_dict().items())


@pytest.mark.parametrize("num_mimics", [1, 2, 4])
def test_selection_and_calibration_families_share_no_model(
    source: nn.Module, num_mimics: int
) -> None:
    settings = MimicSettings(num_mimics=num_mimics, batch_size=32)
    mimics, _ = make_mimics(source, tiny_images(96, 1), settings, seed=0)
    images = CopyImages(tuning=tiny_images(60, 3), training=tiny_images(96, 1))
    made = make_copies(source, mimics, images, seed=0, hardening_epochs=1)
    digests = [model.weights_sha256 for model in [*made.selection, *made.calibration]]
    assert len(set(digests)) == len(digests)
    assert len(made.calibration) >= 9  # beta = 0.1 needs nine


def test_a_contrast_query_moves_where_derived_models_turn_and_innocents_do_not() -> None:
    # Two pixels: the derived model turns to class 1 along the first, the innocent along both.
    # The way that only the derived model follows is to raise the first and lower the second.
    derived = Linear(torch.tensor([[0.0, 0.0, 0, 0, 0, 0], [9.0, 0.0, 0, 0, 0, 0]]))
    innocent = Linear(torch.tensor([[0.0, 0.0, 0, 0, 0, 0], [9.0, 30.0, 0, 0, 0, 0]]))
    carrier = np.full((1, 1, 2, 3), 100, dtype=np.uint8)  # [C, H, W] = (3, 1, 2) weights
    settings = DescentSettings(radius=8, min_improvement=0.0)
    made = craft_contrast([[derived]], [[innocent]], carrier, np.array([1]), settings, epsilon=0.05)
    assert made.images[0, 0, :, 0].tolist() == [108, 92]
    alone = craft_contrast([[derived]], [], carrier, np.array([1]), settings, epsilon=0.05)
    assert alone.images[0, 0, :, 0].tolist() == [108, 100]


def test_every_kind_of_image_gives_its_share_of_the_queries() -> None:
    # The brighter the first colour, the more a query says; the second tells the kinds apart.
    derived = Linear(torch.tensor([[0.0] * 3, [4.0, 0, 0]]))
    innocent = Linear(torch.tensor([[0.0] * 3, [-4.0, 0, 0]]))
    dim, bright = np.zeros((20, 1, 1, 3), np.uint8), np.zeros((20, 1, 1, 3), np.uint8)
    dim[:, 0, 0, 0], bright[:, 0, 0, 0] = np.arange(20), np.arange(200, 220)
    bright[:, 0, 0, 1] = 1
    for kinds, expected in (
        ([dim, bright], [*range(15, 20), *range(215, 220)]),
        # a kind that has too few gives what it has
        ([dim[:2], bright], [0, 1, *range(212, 220)]),
    ):
        chosen = choose_queries(
            kinds,
            [[TorchSuspect("d", derived)]],
            [],
            [TorchSuspect("i", innocent)],
            num_queries=10,
            epsilon=0.05,
            rng=np.random.default_rng(0),
        )
        assert sorted(chosen.images[:, 0, 0, 0].tolist()) == expected


def test_the_most_telling_candidates_are_chosen() -> None:
    # One pixel decides: derived models answer by it, innocents always answer class 0.
    derived = Linear(torch.tensor([[0.0] * 3, [20.0, 0, 0]]))
    innocent = Linear(torch.tensor([[0.0] * 3, [-20.0, 0, 0]]))
    candidates = np.zeros((50, 1, 1, 3), dtype=np.uint8)
    candidates[::5, 0, 0, 0] = 255  # ten on which the two differ
    chosen = choose_queries(
        [candidates],
        [[TorchSuspect("d", derived)]],
        [],
        [TorchSuspect("i", innocent)],
        num_queries=10,
        epsilon=0.05,
        rng=np.random.default_rng(0),
    )
    assert (chosen.images[:, 0, 0, 0] == 255).all()
    # log(1.05 / 0.05) = 3.04 nats: nearly certain of 1 against nearly certain of 0
    assert chosen.expected_evidence == pytest.approx(np.full(10, np.log(1.05 / 0.05)), rel=1e-3)


def test_training_is_a_function_of_its_generator() -> None:
    data = tiny_images(64, 1)
    recipe = TrainingRecipe(epochs=1, batch_size=16, adversary=FreeAdversary(radius=2 / 255))
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        model = tiny_net()
        train(model, data, recipe, generator=torch.Generator().manual_seed(seed))
        results.append(model.state_dict()["conv.weight"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_large_batches_are_trained_in_parts_with_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without batch norm, whose statistics are those of each part, the parts add up to the whole.
    data = tiny_images(64, 1)
    results = []
    for limit in (training.MAX_TRAINING_BYTES, 5 * 12 * 12 * 3 * 4):
        monkeypatch.setattr(training, "MAX_TRAINING_BYTES", limit)
        for adversary in (FreeAdversary(radius=2 / 255), PGDAdversary(radius=2 / 255, steps=2)):
            model = Linear(torch.zeros(3, 12 * 12 * 3))
            recipe = TrainingRecipe(epochs=2, batch_size=32, adversary=adversary)
            train(model, data, recipe, generator=torch.Generator().manual_seed(0))
            results.append(model.weights.detach())
    assert torch.allclose(results[0], results[2], atol=1e-6)
    assert torch.allclose(results[1], results[3], atol=1e-6)
    assert float(results[0].abs().max()) > 1e-3


def test_tiny_task_is_learnable_but_not_trivial(source: nn.Module) -> None:
    data = tiny_images(300, 2)
    accuracy = (predict_logits(source, data.images).argmax(axis=1) == data.labels).mean()
    assert 1 / len(CLASSES) + 0.2 < accuracy < 1
