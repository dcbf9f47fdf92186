"""The network's own parts: weights that are zero or no numbers, channels that say nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang.denoiser import Denoiser
from loang.doctor.finding import Finding, Part
from loang.evaluation.words import number
from loang.samplers import state

WATCHED = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.SiLU, nn.GELU, nn.ReLU)
STILL = 1e-6  # of a layer's usual range of values, below which a channel is constant
LARGE = 1e4  # half-precision numbers end at 65,504
NAMED = 3  # layers that a sentence names


@dataclass
class Channels:
    """The smallest and largest value of each channel of a layer, over all that was seen."""

    low: Float[Tensor, " c"] | None = None
    high: Float[Tensor, " c"] | None = None

    def add(self, values: Float[Tensor, "..."], axis: int) -> None:
        """Take note of a layer's answer, whose channels lie along the axis."""
        flat = values.detach().float().movedim(axis, 0).flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    @property
    def constant(self) -> int:
        """How many channels do not vary, over images, positions and noise levels."""
        if self.low is None or self.high is None:
            return 0
        reach = self.high - self.low
        return int((reach <= STILL * reach.median()).sum())

    @property
    def largest(self) -> float:
        """The largest magnitude; infinite where a value is no number."""
        if self.low is None or self.high is None:
            return 0.0
        ends = torch.stack((self.low.abs(), self.high.abs()))
        return float(ends.nan_to_num(nan=float("inf")).max())


@dataclass(frozen=True)
class Anatomy:
    """What was found in a network.

    Args:
        zero: names of layers whose weights are all zero.
        filters: by layer, how many of its outputs have only zero weights (of how many).
        constant: by layer, how many channels never vary (of how many).
        broken: names of weights that hold what is no number.
        largest: the largest magnitude of an activation, and its layer.
    """

    zero: Sequence[str] = ()
    filters: dict[str, tuple[int, int]] = field(default_factory=dict)
    constant: dict[str, tuple[int, int]] = field(default_factory=dict)
    broken: Sequence[str] = ()
    largest: tuple[float, str] = (0.0, "")


@contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, Channels]]:
    """The range of each channel of every layer, while the network is used."""
    seen: dict[str, Channels] = {}
    hooks = []

    def watch(name: str, axis: int) -> None:
        def hook(_module: nn.Module, _inputs: object, answer: Tensor) -> None:
            seen.setdefault(name, Channels()).add(answer, axis)

        hooks.append(network.get_submodule(name).register_forward_hook(hook))

    for name, layer in network.named_modules():
        if isinstance(layer, WATCHED):
            images = isinstance(layer, nn.Conv2d | nn.GroupNorm)
            watch(name, 1 if images else -1)
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def look(
    denoiser: Denoiser,
    x: Sequence[Float[Tensor, "n c h w"]],
    times: Sequence[float],
    label: Tensor | None = None,
) -> Anatomy:
    """Show the network noisy images of several times, and note what each channel does.

    Args:
        denoiser: on the images' device.
        x: x_t, a batch a time.
        times: above 0, up to T, one a batch.
        label: one an image of a batch.
    """
    network = denoiser.network.eval()
    with watched(network) as seen:
        for x_t, t in zip(x, times, strict=True):
            denoiser.predict(x_t, state.times(t, x_t), label)
    zero, filters, broken = [], {}, []
    for name, layer in network.named_modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor) or not isinstance(layer, WATCHED):
            continue
        rows = weight.detach().flatten(1) if weight.dim() > 1 else weight.detach()[:, None]
        dead = int((rows == 0).all(1).sum())
        if dead == len(rows):
            zero.append(name)
        elif dead:
            filters[name] = (dead, len(rows))
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            broken.append(name)
    constant = {}
    for name, channels in seen.items():
        if channels.low is not None and name not in zero and channels.constant:
            constant[name] = (channels.constant, len(channels.low))
    largest = max(((c.largest, name) for name, c in seen.items()), default=(0.0, ""))
    return Anatomy(zero, filters, constant, broken, largest)


def examine(anatomy: Anatomy, learned: bool) -> Part:
    """What the network's parts say.

    Args:
        anatomy: what was found.
        learned: whether it has seen any training.
    """
    findings = []
    if anatomy.broken:
        findings.append(
            Finding(
                "wrong",
                "units",
                f"{_counted(len(anatomy.broken), 'weight')} hold what is no number:"
                f" {_named(anatomy.broken)}.",
                "Take an earlier checkpoint, or train again with a lower learning rate.",
            )
        )
    if anatomy.zero:
        count, verb = _counted(len(anatomy.zero), "layer"), _verb(len(anatomy.zero))
        findings.append(
            Finding(
                "warning" if learned else "note",
                "units",
                f"{count} {verb} all zero, as some are before the first step:"
                f" {_named(anatomy.zero)}.",
                "Train longer; if that changes nothing, the learning rate is 0 or far too low.",
            )
        )
    dead = {**anatomy.constant, **anatomy.filters}
    if dead:
        lost, all_ = (sum(each[i] for each in dead.values()) for i in (0, 1))
        places = [f"{name} ({few} of {many})" for name, (few, many) in dead.items()]
        findings.append(
            Finding(
                "warning",
                "units",
                f"{_counted(lost, 'channel')} of {all_} in {_counted(len(dead), 'layer')}"
                f" {_verb(lost)} dead: the same for every image, place and noise level:"
                f" {_named(places)}.",
                "The network is smaller than it looks: a lower learning rate or less weight"
                " decay keeps them alive.",
            )
        )
    size, where = anatomy.largest
    if size > LARGE:
        verdict = "wrong" if size == float("inf") else "warning"
        said = "no number" if size == float("inf") else f"{number(size)} large"
        findings.append(
            Finding(
                verdict,  # type: ignore[arg-type]
                "units",
                f"The network's values explode: in {where} the largest is {said}.",
                "Train again with a lower learning rate, or with optimizer.clip_norm=1.",
            )
        )
    if not findings:
        findings.append(
            Finding(
                "good",
                "units",
                "No weight is stuck at zero, no channel is dead, and no value explodes (the largest"
                f" is {number(size)}).",
            )
        )
    facts = {
        "zero_layers": list(anatomy.zero),
        "dead_channels": {name: list(pair) for name, pair in dead.items()},
        "broken_weights": list(anatomy.broken),
        "largest_value": size,
        "largest_in": where,
    }
    return Part(tuple(findings), facts)


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
