"""Ways around torch's slow paths: the same function and gradients, to bfloat16's rounding."""

import pytest
import torch
from torch.nn import functional

from loang.networks import denoising_diffusion, layers, operations
from loang.networks.layers import group_norm

LAYOUTS = [torch.channels_last, torch.contiguous_format]


def differentiated(function, *tensors, of):
    """What a function gives, and its gradients, all in float64."""
    tensors = [each.detach().requires_grad_() for each in tensors]
    out = function(*tensors)
    gradients = torch.autograd.grad(out, tensors, of.to(out.dtype))
    return [out.detach().double(), *(each.double() for each in gradients)]


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        # A few roundings to eight binary digits, of numbers that are sums of others.
        assert (one - other).abs().max() <= 2**-6 * other.abs().max() + 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [48, 3, 128, 512])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (14, 14), (32, 33)])
def test_the_norm_and_its_gradients_are_those_of_float64(channels, shape, layout):
    torch.manual_seed(0)
    norm = group_norm(channels)
    weight, bias = torch.randn(channels) / 3 + 1, torch.randn(channels) / 3
    with torch.no_grad():
        norm.weight.copy_(weight)
        norm.bias.copy_(bias)
    x = (3 * torch.randn(4, channels, *shape) + 1).bfloat16().to(memory_format=layout)
    of = torch.randn(x.shape).bfloat16()

    def exact(x, weight, bias):
        return functional.group_norm(x, norm.num_groups, weight, bias, norm.eps)

    expected = differentiated(exact, x.double(), weight.double(), bias.double(), of=of)
    y = norm(x.requires_grad_())
    assert y.dtype == torch.bfloat16
    gradients = torch.autograd.grad(y, (x, norm.weight, norm.bias), of)
    if shape != (1, 1) or channels != 3:  # of one value the gradient is rounding alone
        assert_close([y.detach().double(), *(g.double() for g in gradients)], expected)
    with torch.inference_mode():
        assert_close([norm(x).double()], expected[:1])


def test_convolutions_get_the_layout_that_they_like():
    norm = group_norm(48)
    x = torch.randn(2, 48, 8, 8).bfloat16().to(memory_format=torch.channels_last)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("positions", [1, 49, 256, 257])
def test_attention_and_its_gradients_are_those_of_float64(positions):
    torch.manual_seed(0)
    # As a network gives them: width last, and yet not one after the other in memory.
    q, k, v = torch.randn(3, 2, 3, 16, positions).transpose(-1, -2).bfloat16()
    of = torch.randn(v.shape).bfloat16()
    expected = differentiated(
        functional.scaled_dot_product_attention, q.double(), k.double(), v.double(), of=of
    )
    if positions == 1:  # the softmax of one score is 1, so q and k have no gradient but rounding
        found = differentiated(operations.attention, q, k, v, of=of)
        assert_close([found[0], found[3]], [expected[0], expected[3]])
    else:
        assert_close(differentiated(operations.attention, q, k, v, of=of), expected)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_many_positions_and_other_types_take_torchs_own(monkeypatch, kind):
    asked = []
    own = functional.scaled_dot_product_attention
    monkeypatch.setattr(
        functional, "scaled_dot_product_attention", lambda *each: asked.append(1) or own(*each)
    )
    few, many = torch.randn(1, 1, 16, 8).to(kind), torch.randn(1, 1, 300, 8).to(kind)
    operations.attention(many, many, many)
    assert len(asked) == 1
    operations.attention(few, few, few)
    assert len(asked) == (1 if kind == torch.bfloat16 else 2)
    with torch.inference_mode():
        operations.attention(few, few, few)
    assert len(asked) == (2 if kind == torch.bfloat16 else 3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_dropout_drops_its_share_anywhere_and_keeps_the_mean(share, layout):
    torch.manual_seed(0)
    dropout = operations.Dropout(share)
    shape = (64, 3, 37, 41)  # 291,264 values, no multiple of four an image
    x = torch.ones(shape).bfloat16().to(memory_format=layout).requires_grad_()
    y = dropout(x)
    assert y.dtype == torch.bfloat16
    assert y.stride() == x.stride()
    kept = y != 0
    error = (share * (1 - share) / kept.numel()) ** 0.5
    assert abs((~kept).float().mean() - share) < 4 * error + 2**-16
    # In every place of the four that share their bits, and none with its neighbour.
    flat = kept.permute(0, 2, 3, 1) if layout == torch.channels_last else kept
    flat = flat.reshape(-1)[: kept.numel() // 4 * 4].view(-1, 4).float()
    assert ((1 - flat).mean(0) - share).abs().max() < 4 * 2 * error + 2**-16
    together = torch.corrcoef(flat.T)
    assert together.sub(torch.eye(4)).abs().max() < 5 * (4 / kept.numel()) ** 0.5
    factor = torch.tensor(1 / (1 - share)).bfloat16()
    assert torch.allclose(y[kept].float(), factor.float(), rtol=2**-7)
    (gradient,) = torch.autograd.grad(y, x, torch.full_like(y, 2))
    assert torch.equal(gradient, 2 * y.detach())


def test_dropout_is_the_same_for_the_same_seed_and_does_nothing_when_not_training():
    dropout = operations.Dropout(0.3)
    x = torch.randn(2, 8, 9, 9).bfloat16()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(dropout(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("share", [0.0, 1e-6, 1.0])
def test_dropout_of_nothing_and_of_all_is_torchs_own(share):
    x = torch.randn(1, 4, 6, 5).bfloat16()
    torch.manual_seed(3)
    found = operations.Dropout(share)(x)
    torch.manual_seed(3)
    assert torch.equal(found, functional.dropout(x, share))


def test_values_that_are_dropped_are_zeros_whatever_they_were():
    x = torch.full((1, 64, 16, 16), torch.inf).bfloat16()
    y = operations.Dropout(0.5)(x)
    assert set(y.unique().tolist()) == {0.0, torch.inf}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (7, 9), (1, 1), (8, 8), (2, 5)])
def test_the_convolution_and_its_gradients_are_those_of_float64(shape, bias, layout):
    torch.manual_seed(0)
    layer = operations.Convolution(256, 40, 3, padding=1, bias=bias).to(memory_format=layout)
    x = torch.randn(3, 256, *shape).bfloat16().to(memory_format=layout).requires_grad_()
    of = torch.randn(3, 40, *shape).bfloat16()
    learnt = list(layer.parameters())

    def exact(x, weight, bias=None):
        return functional.conv2d(x, weight, bias, padding=1)

    # With the weights that bfloat16 makes of them.
    rounded = [each.bfloat16().double() for each in learnt]
    expected = differentiated(exact, x.double(), *rounded, of=of)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    gradients = torch.autograd.grad(y, (x, *learnt), of)
    assert all(each.dtype == torch.float32 for each in gradients[1:])
    assert_close([y.detach().double(), *(each.double() for each in gradients)], expected)


def test_only_small_images_of_many_channels_that_are_learnt_from_take_the_product(monkeypatch):
    taken = []
    own = operations._SmallConvolution.apply
    monkeypatch.setattr(
        operations._SmallConvolution, "apply", lambda *given: taken.append(1) or own(*given)
    )
    layer = operations.Convolution(256, 4, 3, padding=1)
    small, large = torch.randn(1, 256, 8, 8).bfloat16(), torch.randn(1, 256, 8, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        layer(large)
        operations.Convolution(255, 4, 3, padding=1)(small[:, 1:])
        operations.Convolution(256, 4, 3, padding=2)(small)
        operations.Convolution(256, 4, 3, padding=1, stride=2)(small)
        layer(small.float())
        with torch.no_grad():
            layer(small)
        assert not taken
        layer(small)
    assert taken


@pytest.mark.parametrize(
    "attend",
    [
        pytest.param(lambda: layers.Attention(16, 2), id="unet"),
        pytest.param(lambda: denoising_diffusion.Attention(16, 2, 8), id="denoising-diffusion"),
    ],
)
def test_attention_hands_fast_kernels_what_they_take(attend, monkeypatch):
    """A GPU's want the width innermost, and are passed over for three products where it is not."""
    own, asked = functional.scaled_dot_product_attention, []

    def listening(*each):
        asked.extend(each)
        return own(*each)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", listening)
    x = torch.randn(3, 16, 4, 6).to(memory_format=torch.channels_last)
    found = attend()(x)
    assert [each.stride(-1) for each in asked] == [1, 1, 1]
    assert found.is_contiguous(memory_format=torch.channels_last)
