"""A model's network alone, as other runtimes are given it, and whether they answer as it does."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from loang import random
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.model import Model

Precision = Literal["float32", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
BOUNDS: dict[Precision, float] = {"float32": 1e-4, "float16": 5e-2}
"""The largest difference from torch's own float32 that is let pass, as a share of the largest
value that the network answers. A sound network's are a hundredth of that, and a tenth."""
BATCHES = (1, 3)
"""Of how many images the trials are; another batch than that which was traced is among them."""
Answers = tuple[Shaped[Tensor, "n ..."], ...]
Runtime = Callable[[Sequence[Tensor]], Answers]
"""What answers the inputs of `BareNetwork.trial` somewhere else."""


class BareNetwork(nn.Module):
    """The network of a denoiser: no schedule, no parameterisation, no clipping.

    It is given what the schedule makes of x_t and of the time, so that its input is of about unit
    size and holds for any schedule; `description.py` says these numbers for each level.

    In float16 convolutions, matrices and tables are, and what lies between them. Norms are
    computed in float32, as sums over thousands of values leave float16's range, and so is the code
    of the time, since 999 and 1000 are hardly two numbers there. Inputs and outputs stay float32.

    Args:
        denoiser: its network is left as it is.
        precision: that it computes in.
    """

    def __init__(self, denoiser: Denoiser, precision: Precision = "float32") -> None:
        super().__init__()
        # A copy: exporters leave traces in what they are given, and precision changes it.
        self.network = copy.deepcopy(denoiser.network).cpu().float().eval().requires_grad_(False)
        if precision == "float16":
            _halve(self.network)
        self.classes = denoiser.classes
        self.labels = denoiser.classes + int(denoiser.hides_labels)
        self.given = denoiser.self_conditioned
        self.variance = denoiser.learns_variance

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it takes, in order."""
        told = ("label",) * bool(self.classes) + ("given",) * self.given
        return ("x", "condition", *told)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it answers, in order."""
        return ("prediction", "variance") if self.variance else ("prediction",)

    def forward(
        self, x: Float[Tensor, "n c h w"], condition: Float[Tensor, " n"], *told: Tensor
    ) -> Answers:
        """The network's own answer.

        Args:
            x: x_t, divided by its level's `size`.
            condition: what the schedule makes of the time.
            *told: the label of each image, (n), int64, where the network knows labels; then
                its last estimate of each image, (n, c, h, w), where it is shown that.

        Returns:
            The prediction, (n, c, h, w), and, where that is learnt, where the variance of a step
            lies (`Prediction`).
        """
        names = dict(zip(self.inputs[2:], told, strict=True))
        answer: Tensor = self.network(x, condition, names.pop("label", None), **names)
        answer = answer.to(torch.float32)
        if not self.variance:
            return (answer,)
        prediction, variance = answer.chunk(2, dim=1)
        return prediction, (variance + 1) / 2

    @property
    def free(self) -> tuple[Any, ...]:
        """Which axes of the inputs are free, as torch.export is told: the first of each."""
        batch = {0: torch.export.Dim("n", min=1, max=2**31 - 1)}
        told = ((batch,) * (len(self.inputs) - 2),)  # what `forward` gathers is one argument
        return (batch, batch, *(told if len(self.inputs) > 2 else ()))

    def trial(self, model: Model, count: int) -> tuple[Tensor, ...]:
        """Inputs as a walk has them: noise, times from end to end, all labels in turn."""
        numbers = torch.arange(count)
        schedule = model.denoiser.schedule

        def noise(step: int) -> Tensor:
            shape = model.spec.shape
            return random.normal(shape, seed=0, purpose="export", step=step, indices=numbers)

        shares = (numbers + 1) / (count + 1)
        times = [schedule.round(float(schedule.T * share)) for share in shares]
        condition = schedule.condition(torch.tensor(times, dtype=torch.float64)).float()
        told: list[Tensor] = []
        if self.classes:
            told.append((numbers + count) % self.labels)
        if self.given:
            told.append(noise(1).clamp(-1, 1))
        return (noise(0), condition, *told)


def check_precision(precision: str) -> Precision:
    """The precision of that name.

    Raises:
        LoangError: there is none.
    """
    for known in PRECISIONS:
        if precision == known:
            return known
    raise LoangError(
        f"A model can't be exported in {precision!r}.", f"Choose {' or '.join(PRECISIONS)}."
    )


def difference(runtime: Runtime, reference: BareNetwork, model: Model) -> float:
    """The largest |answer - reference| over all trials, as a share of the largest |reference|.

    Infinite where the runtime answers what is no number. Where the reference answers 0 everywhere,
    as an untrained network does, it is the largest |answer|.
    """
    apart, largest = 0.0, 0.0
    for count in BATCHES:
        inputs = reference.trial(model, count)
        with torch.no_grad():
            wanted = reference(*inputs)
        for answer, own in zip(runtime(inputs), wanted, strict=True):
            if answer.shape != own.shape or not bool(answer.isfinite().all()):
                return float("inf")
            apart = max(apart, float((answer.double() - own.double()).abs().max()))
            largest = max(largest, float(own.abs().max()))
    return apart / (largest or 1.0)


def check_difference(found: float, precision: Precision, what: str) -> None:
    """Whether that is little enough to hand the file on.

    Args:
        found: of `difference`.
        precision: that the runtime computes in.
        what: the runtime: "onnxruntime".

    Raises:
        LoangError: it is not.
    """
    if found == float("inf"):
        cause = "its values leave float16's range, which ends at 65,504"
        raise LoangError(
            f"By {what}, in {precision}, the network answers what is no number"
            + (f": {cause}." if precision == "float16" else "."),
            "Export it in float32." if precision == "float16" else "Ask `loang doctor` about it.",
        )
    if found > BOUNDS[precision]:
        raise LoangError(
            f"By {what}, in {precision}, the network's answers are {found:.1e} of the largest value"
            f" off torch's own; {BOUNDS[precision]:g} is allowed, and nothing was written.",
            "Export it in float32."
            if precision == "float16"
            else "Try another version of torch, or of that runtime.",
        )


def _halve(network: nn.Module) -> None:
    """Convolutions, matrices and tables to float16; what they are given is cast as it comes."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            module.half()
            module.register_forward_pre_hook(_as_half)
        elif type(module).__name__.endswith("Norm"):  # networks have norms of their own
            module.register_forward_pre_hook(_as_float)
            module.register_forward_hook(_result_as_half)


def _as_half(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.half() if each.is_floating_point() else each for each in inputs)


def _as_float(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.float() for each in inputs)


def _result_as_half(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
    return result.half()
