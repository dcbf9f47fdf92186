"""Options of the U-Net that its relatives elsewhere need; their defaults change nothing."""

import pytest
import torch
from torch import nn

from loang import build
from loang.config import ScheduleSettings, Settings, changed
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.networks.layers import Attention, Downsample, TimeCode
from loang.networks.unet import UNet


def small(**changes):
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


def test_norms_are_of_so_many_groups_and_such_an_epsilon_everywhere():
    network = small(norm_groups=8, norm_epsilon=1e-5)
    norms = [part for part in network.modules() if isinstance(part, nn.GroupNorm)]
    assert {(norm.num_groups, norm.eps) for norm in norms} == {(8, 1e-5)}
    assert {norm.eps for norm in small().modules() if isinstance(norm, nn.GroupNorm)} == {1e-6}


def test_heads_are_of_so_many_channels_at_every_level():
    network = small(multipliers=(1, 2, 3), attention=(0, 1), head_width=8)
    heads = [part.heads for part in network.modules() if isinstance(part, Attention)]
    assert heads == [2, 4, 6, 4, 4, 2, 2]


@torch.no_grad()
def test_the_middle_attends_or_not():
    network = stirred(small(attention=(), middle_attention=False)).double()
    assert not any(isinstance(part, Attention) for part in network.modules())
    assert network(torch.randn(1, 1, 8, 8).double(), torch.tensor([5])).isfinite().all()


@torch.no_grad()
def test_halving_pads_around_or_after_as_tensorflow_does():
    around, after = (Downsample(2, 3, padding).double() for padding in ("around", "after"))
    after.load_state_dict(around.state_dict())
    x = torch.randn(1, 2, 4, 6).double()
    out = after(x)
    assert out.shape == around(x).shape == (1, 3, 2, 3)
    weight, bias = after.conv.weight, after.conv.bias
    for row in range(2):
        for column in range(3):
            part = x[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            seen = weight[:, :, : part.shape[1], : part.shape[2]]
            expected = (seen * part).sum((1, 2, 3)) + bias
            torch.testing.assert_close(out[0, :, row, column], expected)
    assert float((out - around(x)).abs().max()) > 1e-2


@torch.no_grad()
def test_a_time_code_of_cosines_first_and_of_frequencies_that_stop_short():
    """Dhariwal and Nichol's code: exp(-log(10000) i / half), cosines first."""
    code = TimeCode(8, 5, cosine_first=True, reaches_last=False)
    code.mlp = nn.Identity()
    t = torch.tensor([0, 1, 999])
    frequencies = torch.tensor([1e4 ** (-i / 4) for i in range(4)], dtype=torch.float64)
    angle = t[:, None] * frequencies
    expected = torch.cat((angle.cos(), angle.sin()), 1)
    torch.testing.assert_close(code(t).double(), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_network_without_a_code_for_no_label_wants_labels():
    network = stirred(small(classes=3, no_label=False))
    assert network.label.weight.shape[0] == 3
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 9])
    assert network(x, t, torch.tensor([0, 2])).shape == x.shape
    with pytest.raises(LoangError, match="without a label"):
        network(x, t)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["network.norm_groups=32", "network.width=48"], "norm_groups is 32"),
        (["network.head_width=7"], "head_width is 7"),
        (["network.no_label=false"], "label_dropout"),
        (["schedule.kind=flow", "schedule.counted_from=0"], "counted_from"),
        (["schedule.kind=edm", "schedule.told_in_thousands=true"], "told_in_thousands"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(changes, message):
    with pytest.raises(LoangError, match=message):
        changed(Settings(), changes)


def test_settings_reach_the_network_and_the_schedule():
    changes = [
        *("network.width=16", "network.multipliers=1,2", "network.attention=[1]"),
        *("network.norm_groups=4", "network.norm_epsilon=1e-5", "network.head_width=4"),
        *("network.downsample_padding=after", "network.cosine_first=true"),
        *("network.reaches_last=false", "network.no_label=false", "training.label_dropout=0"),
        *("schedule.counted_from=0", "schedule.steps=100", "schedule.told_in_thousands=true"),
        "schedule.zero_terminal_snr=true",
    ]
    spec = ImageSpec(8, 8, 1, class_names=("a", "b"))
    made = build.build_denoiser(changed(Settings(), changes), spec)
    network = made.network
    assert network.last_norm.num_groups == 4
    assert network.last_norm.eps == 1e-5
    assert network.middle_attention.heads == 8
    assert network.down[0].resample.after
    assert network.time.cosine_first
    assert float(network.time.frequencies[-1]) == pytest.approx(1e4 ** (-7 / 8))
    assert network.label.weight.shape[0] == 2
    assert made.schedule.condition(torch.tensor([1, 51, 100])).tolist() == [0.0, 500.0, 990.0]


def test_a_schedule_tells_its_network_of_steps_from_0_or_1_and_of_times_between():
    plain = build.build_schedule(ScheduleSettings())
    from_0 = build.build_schedule(ScheduleSettings(counted_from=0))
    whole, real = torch.tensor([1, 1000]), torch.tensor([1.5, 999.25], dtype=torch.float64)
    assert plain.condition(whole) is whole
    assert from_0.condition(whole).tolist() == [0, 999]
    assert not from_0.condition(whole).is_floating_point()
    assert from_0.condition(real).tolist() == [0.5, 998.25]
    assert torch.equal(from_0.signal(whole), plain.signal(whole))
