"""The article's U-Net against what Keras computes, and each numerical trap shown to matter.

The reference is `tests/fixtures/tutorial_unet.npz`, made by `scripts/make_tutorial_reference.py`.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import tutorial_weights
from torch import Tensor, nn

from loang.interop.keras.names import article_weights, keras_layout, torch_layout, torch_name
from loang.networks.sizes import cropped, padded
from loang.networks.tutorial import SelfAttention, TutorialUNet, Up, over_positions, time_code

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tutorial_unet.npz"
CHANNELS = {"grey": 1, "colour": 3}
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(FIXTURE) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def networks() -> dict[str, TutorialUNet]:
    """One network a case, carrying the reference's weights. Tests that change one copy it first."""
    return {case: with_article_weights(channels) for case, channels in CHANNELS.items()}


def with_article_weights(channels: int) -> TutorialUNet:
    with torch.device("meta"):
        network = TutorialUNet(channels)
    state = as_state(tutorial_weights.article_values(channels))
    network.load_state_dict(state, assign=True)
    return network


def as_state(values: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Keras weights as a state dict of ours."""
    return {
        torch_name(name): torch.from_numpy(np.ascontiguousarray(torch_layout(name, value)))
        for name, value in values.items()
    }


@torch.no_grad()
def difference(network: TutorialUNet, reference: dict[str, np.ndarray], case: str) -> float:
    """The largest difference from the reference, in standard deviations of the output."""
    x, t = (torch.from_numpy(reference[f"{case}_{name}"]) for name in ("x", "t"))
    expected = reference[f"{case}_y"]
    return float(np.abs(network(x, t).numpy() - expected).max() / expected.std())


def test_the_number_of_parameters_is_the_articles():
    assert sum(p.numel() for p in TutorialUNet().parameters()) == 23_624_769


@pytest.mark.parametrize("channels", [1, 3])
def test_every_article_weight_has_its_parameter_and_none_is_left_over(channels):
    with torch.device("meta"):
        ours = {name: p.shape for name, p in TutorialUNet(channels).state_dict().items()}
    empty = {k: np.empty(shape) for k, shape in article_weights(channels).items()}
    theirs = {name: value.shape for name, value in as_state(empty).items()}
    assert ours == theirs


def test_every_layout_is_undone_by_its_inverse():
    for name, value in tutorial_weights.article_values(1).items():
        back = keras_layout(name, torch_layout(name, value), value.shape)
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("width", [2, 3])
def test_a_narrower_network_has_the_narrower_weights(width):
    with torch.device("meta"):
        ours = {k: p.shape for k, p in TutorialUNet(1, width=width).state_dict().items()}
    shapes = article_weights(1, width)
    theirs = {
        k: value.shape for k, value in as_state({k: np.empty(s) for k, s in shapes.items()}).items()
    }
    assert ours == theirs


@pytest.mark.parametrize("case", CHANNELS)
def test_the_inputs_are_those_of_the_rule(reference, case):
    x, t = tutorial_weights.inputs()[case]
    np.testing.assert_array_equal(reference[f"{case}_x"], x)
    np.testing.assert_array_equal(reference[f"{case}_t"], t)


@pytest.mark.parametrize("case", CHANNELS)
def test_the_network_computes_what_keras_computes(networks, reference, case):
    assert difference(networks[case], reference, case) < TOLERANCE


def set_on(kind: type[nn.Module], **attributes: object) -> Callable[[TutorialUNet], None]:
    """Break a network: set attributes of every module of a kind."""

    def change(network: TutorialUNet) -> None:
        for module in of_kind(network, kind):
            for name, value in attributes.items():
                setattr(module, name, value)

    return change


def of_kind(network: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kind)]


def carry_the_normalised_input(network: TutorialUNet) -> None:
    class Slip(SelfAttention):
        def forward(self, x: Tensor) -> Tensor:
            x = self.ln(x)
            x = x + self.mha(x)
            return x + self.ff_self(x)

    for module in of_kind(network, SelfAttention):
        module.__class__ = Slip


def join_upsampled_first(network: TutorialUNet) -> None:
    # What is joined has equal halves everywhere in this network.
    for module in of_kind(network, Up):
        module.conv.register_forward_pre_hook(
            lambda _, inputs: torch.cat(inputs[0].chunk(2, dim=1)[::-1], dim=1)
        )


def add_a_residual_at_the_bottom(network: TutorialUNet) -> None:
    network.bot2.register_forward_hook(lambda _, inputs, output: output + inputs[0])


TRAPS = {
    "GroupNorm epsilon 1e-5": set_on(nn.GroupNorm, eps=1e-5),
    "LayerNorm epsilon 1e-5": set_on(nn.LayerNorm, eps=1e-5),
    "exact GELU": set_on(nn.GELU, approximate="none"),
    "align_corners": set_on(nn.Upsample, align_corners=True),
    "residual of the normalised input": carry_the_normalised_input,
    "[x, skip]": join_upsampled_first,
    "residual at the bottom": add_a_residual_at_the_bottom,
}


@pytest.mark.parametrize("trap", TRAPS)
def test_falling_into_a_trap_would_be_seen(networks, reference, trap):
    network = deepcopy(networks["colour"])
    TRAPS[trap](network)
    assert difference(network, reference, "colour") > 4 * TOLERANCE


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_channels_and_sizes(channels):
    network = TutorialUNet(channels)
    for height, width in [(8, 8), (24, 16)]:
        x = torch.linspace(-1, 1, 2 * channels * height * width).reshape(2, channels, height, width)
        y = network(x, torch.tensor([1, 500]))
        assert y.shape == x.shape
        assert y.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_and_real_times(dtype):
    network = TutorialUNet().to(dtype)
    y = network(torch.zeros(1, 1, 8, 8, dtype=dtype), torch.tensor([0.25]))
    assert y.dtype == dtype


def test_every_parameter_takes_part():
    network = TutorialUNet()
    network(torch.ones(1, 1, 8, 8), torch.tensor([1])).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_any_size_is_padded_inside_and_cropped_after():
    network = TutorialUNet()
    with torch.no_grad():
        for height, width in [(1, 3), (9, 15)]:
            x = torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(0))
            whole = network(padded(x, 8), torch.tensor([7]))
            assert torch.equal(network(x, torch.tensor([7])), cropped(whole, height, width))
    network = network.to("meta")
    for side in range(1, 41, 6):
        x = torch.empty(1, 1, side, (7 * side) % 40 + 1, device="meta")
        assert network(x, torch.ones(1, device="meta")).shape == x.shape


def test_a_label_and_an_augmentation_are_refused():
    with torch.device("meta"):
        network, x, t = TutorialUNet(), torch.empty(1, 1, 8, 8), torch.ones(1)
    with pytest.raises(ValueError, match="unconditional"):
        network(x, t, torch.ones(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="augmentation"):
        network(x, t, None, torch.ones(1, 2))


@pytest.mark.parametrize("width", [-2, 0, 255])
def test_an_odd_time_code_is_refused(width):
    with pytest.raises(ValueError, match="even"):
        TutorialUNet(time_width=width)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_the_time_code_is_its_formula_in_float64(dtype):
    times = [0, 1, 250, 500]
    code = time_code(torch.tensor(times, dtype=dtype), 256)
    angles = [[t / 10000 ** (2 * i / 256) for i in range(128)] for t in times]
    expected = [[f(a) for f in (math.sin, math.cos) for a in row] for row in angles]
    assert code.dtype == torch.float64
    torch.testing.assert_close(
        code, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-13
    )


def test_self_attention_is_its_formula_in_float64():
    """Written with the heads as an axis of the weights, as Keras has them."""
    c, heads, inside = 6, 4, {}
    for name, shape in article_weights().items():
        if name.startswith("sa4/"):
            small = tuple(c if n == 64 else n for n in shape)
            inside[name.removeprefix("sa4/")] = tutorial_weights.uniform(name, small).astype(float)
    block = SelfAttention(c).double()
    block.load_state_dict(as_state(inside))
    x = tutorial_weights.uniform("sequence", (2, 15, c)).astype(float)
    found = block(torch.from_numpy(x)).detach().numpy()

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
        return scaled * inside[f"{name}/gamma"] + inside[f"{name}/beta"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ inside[f"{name}/kernel"] + inside[f"{name}/bias"]

    def project(x: np.ndarray, name: str) -> np.ndarray:
        return (
            np.einsum("bpc,chd->bhpd", x, inside[f"mha/{name}/kernel"])
            + (inside[f"mha/{name}/bias"][:, None, :])
        )

    normed = norm(x, "ln")
    q, k, v = (project(normed, name) for name in ("query", "key", "value"))
    weights = np.exp(np.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(c))
    heads_out = np.einsum("bhqk,bhkd->bqhd", weights / weights.sum(-1, keepdims=True), v)
    assert heads_out.shape == (2, 15, heads, c)
    output = np.einsum("bqhd,hdc->bqc", heads_out, inside["mha/attention_output/kernel"])
    x = x + output + inside["mha/attention_output/bias"]
    hidden = dense(norm(x, "ff_self/0"), "ff_self/1")
    hidden = hidden / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    x = x + dense(hidden, "ff_self/3")
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-12)


def test_positions_are_read_row_by_row():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    seen: list[Tensor] = []
    y = over_positions(lambda sequence: seen.append(sequence) or sequence, x)
    assert torch.equal(y, x)
    assert seen[0][0, :, 0].tolist() == list(range(12))


# Root mean squares of fresh kernels in the article's own code under TensorFlow 2.15.1 with
# tensorflow_addons 0.23.0. (Keras 3.15 draws attention kernels up to ten times larger: it has
# since learnt which of their axes are inputs.)
FRESH = {
    "down1.maxpool_conv.1.double_conv.0.weight": 0.0417,
    "bot1.double_conv.3.weight": 0.0147,
    "sa1.ff_self.1.weight": 0.0884,
    "sa1.mha.query.weight": 0.01088,
    "sa1.mha.output.weight": 0.0441,
    "bot2.value.weight": 0.002751,
    "bot2.output.weight": 0.0221,
}


def test_a_new_network_starts_as_the_articles_does():
    fresh = TutorialUNet().state_dict()
    for name, value in fresh.items():
        if name.endswith("bias"):
            assert value.abs().max() == 0, name
        elif value.ndim == 1:
            assert (value == 1).all(), name
    for name, expected in FRESH.items():
        assert fresh[name].square().mean().sqrt().item() == pytest.approx(expected, rel=0.02), name
