import math

import numpy as np
import pytest
import torch

from gr2.semantic_ids import residual, rqvae_train
from gr2.semantic_ids.rqvae import RQVAE, crowding, info_nce
from gr2.semantic_ids.settings import RQVAESettings

SMALL = {"hidden": (16,), "latent": 8, "epochs": 30, "warmup_epochs": 5, "batch_size": 64, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def vectors():
    """300 vectors of 12 numbers around 30 centres."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 12))[np.arange(300) % 30] + 0.3 * rng.normal(size=(300, 12))).astype(np.float32)


def trained(vectors, seed=0, **changed):
    return rqvae_train.train(vectors, 2, 16, RQVAESettings(**SMALL | changed), seed)


def codes(model, vectors):
    with torch.no_grad():
        latents = model.network.encoder(torch.from_numpy(vectors)).numpy()
    return residual.encode(latents, model.codebooks.detach().numpy())


def error(model, vectors):
    with torch.no_grad():
        return float(model(torch.from_numpy(vectors))[2].sum() / (vectors**2).sum())


@pytest.mark.parametrize("changed", [{}, {"ema": False}, {"hidden": ()}])
def test_it_learns_to_rebuild_vectors_through_its_codes(vectors, changed):
    if changed == {"hidden": ()}:
        assert len(list(trained(vectors, **changed, epochs=1).network.encoder.perceptron)) == 1
    before, after = trained(vectors, **changed, epochs=1, warmup_epochs=0), trained(vectors, **changed)
    assert error(after, vectors) < 0.75 * error(before, vectors) and error(after, vectors) < 0.3
    assert all(not parameter.grad_fn and torch.isfinite(parameter).all() for parameter in after.parameters())


def test_every_parameter_changes(vectors):
    before, after = trained(vectors, ema=False, epochs=6), trained(vectors, ema=False, epochs=12)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert (old != new).any(), name


def test_the_seed_decides(vectors):
    first, again, other = (trained(vectors, seed, epochs=8) for seed in (0, 0, 1))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.codebooks, other.codebooks)


@pytest.mark.parametrize("stop", [2, 5, 11])  # in the warm-up, at its end, after it
@pytest.mark.parametrize("switches", [{}, {"ema": False, "reset_after": 2, "diversity": 0.1}])
def test_a_resumed_training_ends_at_the_same_bytes(vectors, tmp_path, monkeypatch, stop, switches):
    settings = RQVAESettings(**SMALL | {"epochs": 12} | switches)
    whole = rqvae_train.train(vectors, 2, 16, settings, 0)
    file, batches = tmp_path / "state.safetensors", rqvae_train.minibatches

    def killed(n, size, seed, epoch):
        if epoch == stop:
            raise KeyboardInterrupt
        return batches(n, size, seed, epoch)

    monkeypatch.setattr(rqvae_train, "minibatches", killed)
    with pytest.raises(KeyboardInterrupt):
        rqvae_train.train(vectors, 2, 16, settings, 0, checkpoint=file)
    seen = []
    monkeypatch.setattr(rqvae_train, "minibatches", lambda *a: seen.append(a[3]) or batches(*a))
    resumed = rqvae_train.train(vectors, 2, 16, settings, 0, checkpoint=file)
    assert seen == list(range(stop, 12))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_straight_through_quantizes_but_passes_the_gradient(vectors):
    model = RQVAE(12, 2, 16, RQVAESettings(**SMALL))
    model.start_codebooks(torch.from_numpy(vectors), 0)
    quantized, steps = model.straight_through(torch.from_numpy(vectors))
    expected = residual.decode(codes(model, vectors), model.codebooks.detach().numpy())
    np.testing.assert_allclose(quantized.detach().numpy(), expected, atol=1e-5)
    assert [step.code.tolist() for step in steps] == codes(model, vectors).T.tolist()
    (by_codes,) = torch.autograd.grad(quantized.sum(), model.network.encoder.linear.bias, retain_graph=True)
    assert by_codes.tolist() == [300.0] * 8  # as if nothing had been quantized


def test_a_moving_average_by_hand():
    model = RQVAE(1, 1, 2, RQVAESettings(hidden=(), latent=1, ema_decay=0.75))
    model.codebooks.data[:] = model.sums[:] = torch.tensor([[[0.0], [10.0]]])
    latents = torch.tensor([[1.0], [3.0]])
    model.update_codebooks(model.quantize(latents), torch.zeros(2))
    # code 0: count .75 x 1 + .25 x 2 = 1.25, sum .75 x 0 + .25 x 4 = 1; code 1 keeps its place, with a count of .75
    assert model.codebooks.flatten().tolist() == pytest.approx([0.8, 10.0])
    assert model.unused.tolist() == [[0, 1]]


def test_a_dead_code_moves_to_the_worst_rebuilt_vector():
    model = RQVAE(1, 1, 3, RQVAESettings(hidden=(), latent=1, ema=False, reset_after=2))
    model.codebooks.data[:] = torch.tensor([[[0.0], [50.0], [60.0]]])
    latents, errors = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.1, 0.9, 0.5])
    model.update_codebooks(model.quantize(latents), errors)
    assert model.codebooks.flatten().tolist() == [0, 50, 60]  # patience
    model.update_codebooks(model.quantize(latents), errors)
    assert model.codebooks.flatten().tolist() == [0, 2, 3] and model.unused.tolist() == [[0, 0, 0]]


def test_crowding_is_one_for_an_even_spread_and_the_number_of_codes_for_one():
    even = torch.eye(4).repeat(3, 1) * -1e3 + 1e3  # every code is the nearest of three vectors
    assert crowding(even).item() == pytest.approx(1)
    assert crowding(torch.tensor([[0.0, 1e3, 1e3, 1e3]] * 12)).item() == pytest.approx(4)


def test_info_nce_by_hand():
    left = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    assert info_nce(left, left, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert info_nce(left, left.flip(0), 0.5).item() == pytest.approx(math.log(1 + math.exp(2)))


def test_the_diversity_loss_spreads_items_over_codes(vectors):
    def crowded(weight):
        share = np.bincount(codes(trained(vectors, diversity=weight), vectors)[:, 0], minlength=16) / 300
        return 16 * (share**2).sum()  # 1 for an even spread

    assert crowded(5.0) < 1.1 < 1.2 < crowded(0.0)


def test_the_contrastive_loss_gives_items_taken_together_the_same_first_code(vectors):
    rows = np.arange(300)
    pairs = np.stack([rows[rows % 2 == 0], rows[rows % 2 == 1]], axis=1)  # centres 0 and 1, 2 and 3, ...

    def shared(weight):
        model = rqvae_train.train(vectors, 2, 16, RQVAESettings(**SMALL, contrastive=weight), 0, pairs)
        first = codes(model, vectors)[:, 0]
        return (first[pairs[:, 0]] == first[pairs[:, 1]]).mean()

    assert shared(5.0) > shared(0.0) + 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("switches", [{}, {"ema": False, "reset_after": 2, "diversity": 0.1, "contrastive": 0.1}])
def test_a_gpu_learns_as_much_and_hands_back_a_model_on_the_cpu(vectors, switches):
    pairs = np.random.default_rng(0).integers(300, size=(200, 2))
    model = rqvae_train.train(vectors, 2, 16, RQVAESettings(**SMALL | switches), 0, pairs)
    assert error(model, vectors) < 0.3 and model.codebooks.device.type == "cpu"
