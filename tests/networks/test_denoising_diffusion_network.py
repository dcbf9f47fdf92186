"""The U-Net of denoising-diffusion-pytorch: facts of it, and that it is a network like any other.

That it computes what the library's does is shown in tests/interop.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

import loang
from loang import build, presets
from loang.config import changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.networks.denoising_diffusion import Block, DenoisingDiffusionUNet, LinearAttention
from loang.networks.recompute import recompute

KIND = ("network.kind=denoising-diffusion", "network.width=8", "network.multipliers=[1,2]")


def network(**options):
    torch.manual_seed(0)
    return DenoisingDiffusionUNet(1, 8, (1, 2), heads=2, head_width=4, **options).eval()


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [(3, 35_711_491), (1, 35_705_089)],
)
def test_the_usual_network_has_the_librarys_number_of_parameters(channels, parameters):
    """Unet(64, channels=...) of version 2.2.5."""
    with torch.device("meta"):
        made = DenoisingDiffusionUNet(channels, 64, (1, 2, 4, 8))
    assert sum(p.numel() for p in made.parameters()) == parameters


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (1, 5)])
def test_any_size_goes_in_and_comes_out(height, width):
    x = torch.randn(2, 1, height, width)
    assert network()(x, torch.tensor([1, 500])).shape == x.shape
    assert network(variance=True)(x, torch.tensor([1, 500])).shape == (2, 2, height, width)


def test_linear_attention_is_its_formula_in_float64():
    attention = LinearAttention(6, heads=2, head_width=3).double()
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    normal = (x * (6 / x.square().sum(1, keepdim=True)).sqrt()).flatten(2)
    weights = attention.to_qkv.weight.detach().flatten(1).reshape(3, 2, 3, 6)
    q, k, v = torch.einsum("ahwc,ncp->anhpw", weights, normal)
    keys, values = attention.mem_kv.detach()
    k = torch.cat((keys.transpose(1, 2).expand(2, -1, -1, -1), k), dim=2)
    v = torch.cat((values.transpose(1, 2).expand(2, -1, -1, -1), v), dim=2)
    q = q.exp() / q.exp().sum(-1, keepdim=True) / 3**0.5
    k = k.exp() / k.exp().sum(2, keepdim=True)
    # As if every position looked at all: (q k^T) v, whose order is what makes it linear.
    mixed = torch.einsum("nhpq,nhqw->nhwp", torch.einsum("nhpw,nhqw->nhpq", q, k), v)
    expected = attention.to_out(mixed.reshape(2, 6, 4, 5)) + x
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize("groups", [None, 2])
def test_a_block_is_its_formula(groups):
    """RMS over the channels of each position, or groups as before version 2."""
    block = Block(4, 6, 3, dropout=0.0, groups=groups)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    weights = {name: value.detach() for name, value in block.named_parameters()}
    x, code = torch.randn(2, 4, 5, 5), torch.randn(2, 3)

    def half(name, h):
        proj = weights[f"{name}.proj.weight"], weights[f"{name}.proj.bias"]
        h = functional.conv2d(h, *proj, padding=1)
        if groups:
            of_norm = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
            return functional.group_norm(h, groups, *of_norm, eps=1e-5)
        return h / h.square().mean(1, keepdim=True).sqrt() * weights[f"{name}.norm.g"]

    of_code = functional.silu(code) @ weights["mlp.1.weight"].T + weights["mlp.1.bias"]
    scale, shift = of_code[:, :6, None, None], of_code[:, 6:, None, None]
    h = functional.silu(half("block1", x) * (1 + scale) + shift)
    h = functional.silu(half("block2", h))
    skip = functional.conv2d(x, weights["res_conv.weight"], weights["res_conv.bias"])
    torch.testing.assert_close(block(x, code), h + skip)


def test_another_image_is_seen_and_none_is_an_image_of_zeros():
    seen = network(given=1)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 400])
    other = torch.randn_like(x)
    torch.testing.assert_close(seen(x, t), seen(x, t, given=torch.zeros_like(x)))
    assert (seen(x, t, given=other) - seen(x, t)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="built without"):
        network()(x, t, given=other)


def test_it_takes_no_label_and_no_augmentation():
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([3])
    with pytest.raises(ValueError, match="knows none"):
        network()(x, t, torch.tensor([0]))
    with pytest.raises(ValueError, match="knows none"):
        network()(x, t, augmentation=torch.zeros(1, 2))


def test_layers_computed_again_give_the_same_gradients():
    made = network(dropout=0.3).train()
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 400])
    found = []
    for again in (False, True):
        recompute(made, again)
        made.zero_grad()
        torch.manual_seed(5)
        made(x, t).square().sum().backward()
        found.append([p.grad.clone() for p in made.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_each_image_is_answered_alone():
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([3, 400, 7])
    together = network()(x, t)
    torch.testing.assert_close(together[1:2], network()(x[1:2], t[1:2]), atol=1e-5, rtol=1e-5)


def test_every_weight_is_learnt():
    settings = changed(presets.quick(), (*KIND, "network.self_conditioning=true"))
    denoiser = build.build_denoiser(settings, ImageSpec(8, 8, 1))
    x = torch.randn(2, 1, 8, 8)
    denoiser.predict(x, torch.tensor([0.2, 0.9]), given=x).image.square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in denoiser.parameters())


@pytest.mark.slow
def test_loang_trains_and_samples_it(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    steps = ("training.batch=16", "sampling.steps=2", "training.reports=1", "schedule.steps=20")
    quick = ("training.device=cpu", "network.heads=2", "network.head_width=4")
    kinds = ("schedule.kind=sigmoid", "denoiser.predicts=v", "sampling.sampler=ddim")
    levels = ("training.levels=uniform", "training.stratified=false", "sampling.guidance=1")
    changes = (*KIND, *kinds, *levels, *steps, *quick, "network.self_conditioning=true")
    run = tmp_path / "run"
    loang.train(
        tmp_path / "images.npy",
        out=run,
        budget="32 images",
        changes=(*changes, "sampling.guidance_interval=null"),
    )
    model = loang.load(run)
    assert isinstance(model.denoiser.network, DenoisingDiffusionUNet)
    assert model.denoiser.self_conditioned
    assert model.sample(2).shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("network.full_attention=[2]", r"levels count 0\.\.1"),
        ("network.norm_groups=3", "does not divide the widths"),
        ("network.width=7", "multiple of 2"),
        ("network.blocks=2", "no setting 'network.blocks'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(LoangError, match=words):
        changed(presets.quick(), (*KIND, change))


def test_it_can_not_be_told_of_changes():
    settings = changed(presets.quick(), (*KIND, "data.flips=true", "data.told=true"))
    with pytest.raises(LoangError, match="kind denoising-diffusion can't be told"):
        build.build_network(settings, ImageSpec(8, 8, 1))
