import pytest
import torch

from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh, fuse

SMALL = EncoderSettings(channels=1, classes=3, dimension=6, widths=(4, 8, 12))


def settled(encoder: Encoder, *shape: int) -> Encoder:
    """After a few batches its norms have means and variances of their own."""
    encoder.train()
    with torch.no_grad():
        for seed in range(3):
            encoder(torch.randn(8, *shape, generator=torch.Generator().manual_seed(seed)))
        for layer in encoder.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.copy_(torch.linspace(0.5, 2.0, len(layer.weight)))
                layer.bias.copy_(torch.linspace(-0.5, 0.5, len(layer.bias)))
    return encoder.eval()


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 9, 13), (2, 3, 50), (1, 1, 1), (4, 64, 48)]
)
def test_any_size_and_channels(shape: tuple[int, int, int], stride: int) -> None:
    settings = EncoderSettings(shape[0], dimension=6, widths=(4, 8, 12), stride=stride)
    encoder = fresh(settings, seed=0).eval()
    with torch.no_grad():
        features = encoder(torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (5, 6)
    assert bool(features.isfinite().all())
    assert float(features.min()) >= 0


def test_fused_is_the_same_function() -> None:
    encoder = settled(fresh(SMALL, seed=0), 1, 12, 12)
    x = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        before = encoder(x)
        after = fuse(encoder)(x)
    assert float(before.std()) > 0.01
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in encoder.modules())


def test_features_do_not_depend_on_what_else_is_in_the_batch() -> None:
    encoder = fuse(settled(fresh(SMALL, seed=0), 1, 12, 12))
    x = torch.randn(6, 1, 12, 12, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]), rtol=1e-5, atol=1e-6)


def test_first_weights_depend_on_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (fresh(SMALL, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    name = "stages.0.conv.weight"
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first[name], other[name])
