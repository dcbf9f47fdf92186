"""The modern U-Net and its layers: size, formulas, and the traps known from other codes."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from loang import build, presets
from loang.data.spec import ImageSpec
from loang.networks.layers import Attention, ResidualBlock, TimeCode
from loang.networks.unet import UNet

HO = {"channels": 3, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": (1,), "modulate": False}


def small(**changes):
    torch.manual_seed(0)
    plain = {"channels": 1, "width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}
    return UNet(**{**plain, "heads": 2, **changes})


@pytest.fixture(autouse=True)
def own_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@torch.no_grad()
def stirred(module):
    """Every parameter moved at random, so that nothing is hidden behind a zero."""
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_at_ho_et_als_setting_it_has_the_parameters_of_their_network():
    with torch.device("meta"):
        assert count(UNet(width=128, **HO)) == 35_746_307


def test_the_cifar_preset_is_that_network():
    with torch.device("meta"):
        made = build.build_network(presets.preset("ddpm-cifar10"), ImageSpec(32, 32, 3))
    assert count(made) == 35_746_307


@torch.no_grad()
def test_the_papers_multipliers_can_be_built_and_run():
    network = stirred(UNet(width=32, **HO)).eval()
    out = network(torch.randn(2, 3, 32, 32), torch.tensor([1, 1000]))
    assert out.shape == (2, 3, 32, 32)
    assert bool(out.isfinite().all())
    assert float(out.std()) > 0


@torch.no_grad()
@pytest.mark.parametrize("modulate", [True, False])
def test_a_fresh_network_answers_zero_and_a_trained_one_does_not(modulate):
    network, x, t = small(modulate=modulate), torch.randn(2, 1, 8, 8), torch.tensor([1, 9])
    assert float(network(x, t).abs().max()) == 0.0
    assert float(stirred(network)(x, t).abs().max()) > 0.0


@torch.no_grad()
@pytest.mark.parametrize("modulate", [True, False])
def test_a_fresh_block_and_a_fresh_attention_pass_their_input_through(modulate):
    x, code = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    block = ResidualBlock(16, 16, 8, dropout=0.5, modulate=modulate)
    attention = Attention(16, 2)
    assert torch.equal(block(x, code), x)
    assert torch.equal(attention(x), x)
    assert not torch.equal(stirred(block)(x, code), x)
    assert not torch.equal(stirred(attention)(x), x)


def normalised(x, groups, norm):
    """Group normalisation written out."""
    n, c, h, w = x.shape
    grouped = x.reshape(n, groups, -1)
    mean, variance = grouped.mean(2, keepdim=True), grouped.var(2, unbiased=False, keepdim=True)
    flat = ((grouped - mean) / (variance + 1e-6).sqrt()).reshape(n, c, h, w)
    return flat * norm.weight[:, None, None] + norm.bias[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_its_formula_and_adds_the_input_as_it_was_before_the_norm(heads):
    attention = stirred(Attention(16, heads)).double()
    x = 3 + 2 * torch.randn(2, 16, 3, 5, dtype=torch.float64)
    wide = 16 // heads

    def project(layer, rows, values):
        weight, bias = layer.weight[rows, :, 0, 0], layer.bias[rows]
        return torch.einsum("oc,nchw->nohw", weight, values) + bias[:, None, None]

    norm = normalised(x, 4, attention.norm)
    answers = []
    for head in range(heads):
        start = head * wide
        q, k, v = (
            project(attention.qkv, slice(16 * i + start, 16 * i + start + wide), norm).flatten(2)
            for i in range(3)
        )
        scores = torch.einsum("ncq,nck->nqk", q, k) / math.sqrt(wide)
        answers.append(torch.einsum("nqk,nck->ncq", scores.softmax(2), v))
    mixed = project(attention.out, slice(None), torch.cat(answers, 1).reshape(x.shape))
    torch.testing.assert_close(attention(x), x + mixed, rtol=0, atol=1e-10)
    assert float((attention(x) - (norm + mixed)).abs().max()) > 1  # the trap


@torch.no_grad()
@pytest.mark.parametrize("modulate", [True, False])
def test_a_block_is_its_formula(modulate):
    block = stirred(ResidualBlock(8, 16, 6, dropout=0.0, modulate=modulate)).double()
    x, code = torch.randn(2, 8, 4, 4).double(), torch.randn(2, 6).double()

    def convolved(layer, values):
        return functional.conv2d(values, layer.weight, layer.bias, padding=layer.padding)

    h = convolved(block.conv1, functional.silu(normalised(x, 2, block.norm1)))
    of_code = (code @ block.code.weight.T + block.code.bias)[:, :, None, None]
    if modulate:  # Dhariwal and Nichol 2021: AdaGN(h, y) = y_s GroupNorm(h) + y_b, y_s about 1
        h = (1 + of_code[:, :16]) * normalised(h, 4, block.norm2) + of_code[:, 16:]
    else:
        h = normalised(h + of_code, 4, block.norm2)
    expected = convolved(block.skip, x) + convolved(block.conv2, functional.silu(h))
    torch.testing.assert_close(block(x, code), expected, rtol=0, atol=1e-10)


class Hands(nn.Module):
    """Keeps what it is given, or answers what it was told to."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.given, self.answer = inner, None, None

    def forward(self, x):
        self.given = x
        return self.inner(x) if self.answer is None else self.answer


@torch.no_grad()
@pytest.mark.parametrize(("fold", "channels"), [(1, 1), (2, 1), (2, 3), (4, 1)])
def test_folding_shows_each_pixel_once_with_its_neighbours_and_unfolds_them_in_place(
    fold, channels
):
    network = small(fold=fold, channels=channels)
    network.first, network.last = Hands(network.first), Hands(network.last)
    side = 4 * fold
    x = torch.arange(float(channels * side * side)).reshape(1, channels, side, side)
    network(x, torch.tensor([5]))
    seen = network.first.given
    assert seen.shape == (1, channels * fold**2, 4, 4)
    assert torch.equal(seen.flatten().sort().values, x.flatten())
    patch = x[0, :, fold : 2 * fold, :fold].flatten()
    assert torch.equal(seen[0, :, 1, 0], patch)
    network.last.answer = seen
    assert torch.equal(network(x, torch.tensor([5])), x)


@torch.no_grad()
def test_no_label_is_the_index_after_the_last_and_each_label_matters():
    network = stirred(small(classes=3))
    x, t = torch.randn(1, 1, 8, 8).expand(4, -1, -1, -1), torch.full((4,), 100)
    given = network(x, t, torch.tensor([0, 1, 2, 3]))
    without = network(x, t, None)
    torch.testing.assert_close(given[3], without[3], rtol=0, atol=1e-6)
    for i in range(4):
        for j in range(i):
            assert float((given[i] - given[j]).abs().max()) > 1e-4


def test_a_label_for_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match="label"):
        small()(torch.zeros(1, 1, 8, 8), torch.tensor([1]), torch.tensor([0]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modulate": False},
        {"fold": 2, "blocks": 2},
        {"attention": (0, 1), "classes": 2},
        {"multipliers": (1, 2, 2), "attention": ()},
        {"augmentations": 2},
    ],
    ids=str,
)
def test_every_parameter_takes_part(changes):
    network = stirred(small(**changes))
    label = torch.tensor([0, 1, 2]) if network.classes else None
    told = torch.randn(3, 2) if network.augmentations else None
    out = network(torch.randn(3, 1, 16, 16), torch.tensor([1, 50, 900]), label, told)
    (out * torch.randn_like(out)).sum().backward()
    idle = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.any())
    ]
    assert idle == []


@torch.no_grad()
def test_every_pixel_sees_every_other_and_each_image_only_itself():
    network = stirred(small()).double()
    x, t = torch.randn(2, 1, 8, 8).double(), torch.tensor([5, 5])
    changed = x.clone()
    changed[0, 0, 0, 0] += 1
    moved = (network(changed, t) - network(x, t)).abs()
    assert float(moved[0].min()) > 0
    assert float(moved[1].max()) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(16, 24), (4, 20), (28, 8)])
def test_images_need_not_be_square(height, width):
    network = stirred(small(channels=2))
    x = torch.randn(1, 2, height, width)
    out = network(x, torch.tensor([7]))
    assert out.shape == x.shape
    tall = network(x.transpose(2, 3).contiguous(), torch.tensor([7]))
    assert tall.shape == x.transpose(2, 3).shape


@torch.no_grad()
def test_an_image_that_was_not_changed_is_the_same_whether_the_network_is_told_or_not():
    plain, told = small(), small(augmentations=3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 900])
    for name, weight in plain.state_dict().items():
        assert torch.equal(told.state_dict()[name], weight), name
    told.load_state_dict({**told.state_dict(), **stirred(plain).state_dict()})
    told.augmentation.weight.normal_()
    assert torch.equal(told(x, t, None, torch.zeros(2, 3)), told(x, t))
    assert torch.equal(told(x, t), plain(x, t))
    turned = torch.eye(3)[:2]
    assert bool(((told(x, t, None, turned) - told(x, t)).abs().amax((1, 2, 3)) > 1e-4).all())


def test_an_augmentation_for_a_network_that_was_built_without_is_refused():
    with pytest.raises(ValueError, match="augmentation"):
        small()(torch.zeros(1, 1, 8, 8), torch.tensor([1]), None, torch.zeros(1, 1))


@torch.no_grad()
def test_the_time_code_is_sines_and_cosines_from_1_to_1_in_10000():
    code = TimeCode(8, 5)
    code.mlp = nn.Identity()
    t = torch.tensor([0, 1, 999])
    frequencies = torch.tensor([1e4 ** (-i / 3) for i in range(4)], dtype=torch.float64)
    angle = t[:, None] * frequencies
    expected = torch.cat((angle.sin(), angle.cos()), 1)
    torch.testing.assert_close(code(t).double(), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_under_bfloat16_the_last_times_are_still_told_apart():
    assert float(torch.tensor(999.0).bfloat16()) == float(torch.tensor(1000.0).bfloat16())
    code = TimeCode(32, 64)
    t = torch.tensor([999, 1000])
    exact = code(t)
    with torch.autocast("cpu", torch.bfloat16):
        rough = code(t).float()
    step = (exact[1] - exact[0]).norm()
    assert float((rough[1] - rough[0]).norm()) > 0.5 * float(step)


@torch.no_grad()
def test_a_real_time_lies_between_its_neighbours():
    network = stirred(small())
    x = torch.randn(1, 1, 8, 8)
    low, middle, high = (network(x, torch.tensor([t])) for t in (500.0, 500.5, 501.0))
    assert float((high - low).abs().max()) > 0
    assert float((middle - low).norm()) < float((high - low).norm())
    torch.testing.assert_close(low, network(x, torch.tensor([500])))


@torch.no_grad()
def test_dropout_is_asleep_when_the_network_samples():
    network = stirred(small(dropout=0.5))
    x, t = torch.randn(1, 1, 8, 8), torch.tensor([3])
    assert not torch.equal(network(x, t), network(x, t))
    network.eval()
    assert torch.equal(network(x, t), network(x, t))


def test_a_norm_takes_as_many_channels_together_as_asked():
    """All norms: 16 and more a group where 4 divide evenly too; a level of 8 in one."""
    network = UNet(1, width=8, multipliers=(1, 6), blocks=1, attention=(1,), group_channels=16)
    groups = {
        (part.num_channels, part.num_groups)
        for part in network.modules()
        if isinstance(part, nn.GroupNorm)
    }
    assert groups == {(8, 1), (48, 3), (96, 6), (56, 2), (16, 1)}
