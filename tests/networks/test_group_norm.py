"""The norm that takes a detour in bfloat16: the same numbers, to that type's rounding."""

import pytest
import torch

from loang.networks.layers import group_norm


@pytest.mark.parametrize("channels", [48, 3, 128])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (14, 14)])
def test_the_detour_gives_the_same_numbers(channels, shape):
    torch.manual_seed(0)
    norm = group_norm(channels)
    with torch.no_grad():
        norm.weight.normal_(1, 0.3)
        norm.bias.normal_(0, 0.3)
    x = (3 * torch.randn(4, channels, *shape) + 1).bfloat16()
    expected = torch.nn.functional.group_norm(
        x.double(), norm.num_groups, norm.weight.double(), norm.bias.double(), norm.eps
    )
    with torch.inference_mode():
        found = norm(x)
    assert found.dtype == torch.bfloat16
    assert found.shape == x.shape
    # Two roundings to eight binary digits, of the normal value and of the answer.
    torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=2**-7)


def test_it_takes_none_where_a_backward_pass_is_to_come_or_in_other_types(monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError("layer_norm was asked")

    monkeypatch.setattr("loang.networks.layers.functional.layer_norm", refuse)
    norm = group_norm(16)
    x = torch.randn(2, 16, 4, 4)
    norm(x.bfloat16()).sum().backward()
    assert norm.weight.grad is not None
    with torch.inference_mode():
        norm(x)
        with pytest.raises(AssertionError, match="layer_norm"):
            norm(x.bfloat16())
