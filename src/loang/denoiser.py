"""The denoiser: network + schedule + parameterisation; all that samplers and losses see."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from loang import parameterization
from loang.errors import LoangError
from loang.parameterization import Parameterization
from loang.process import like
from loang.schedule import Schedule


class Estimate(NamedTuple):
    """What a denoiser sees in x_t: x_t = signal(t) * x0 + noise(t) * eps holds exactly."""

    x0: Float[Tensor, "n c h w"]
    eps: Float[Tensor, "n c h w"]


@runtime_checkable
class DenoiserLike(Protocol):
    """What a sampler needs: a schedule, and an estimate of image and noise at a time."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose times `t` counts."""
        ...

    def __call__(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Int[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Estimate:
        """The estimate at time t, one an image."""
        ...


class Denoiser(nn.Module):
    """A network that has learnt to see the image and the noise in x_t.

    Args:
        network: `network(x, condition, label)` answers a tensor of x's shape; its condition is
            the time t. One that is trained on changed images, and told how they were, takes that
            as a fourth argument.
        schedule: the noise schedule that it was trained on.
        kind: what its answer is: "eps", "x0" or "v".
        clip: whether estimates of the image are kept within [-1, 1]. The noise is then derived
            anew from the clipped image, so that both stay consistent with x_t.

    Raises:
        LoangError: an eps-network with a schedule whose last signal is 0: there x_T = eps, so
            the answer says nothing of the image.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        kind: Parameterization = "eps",
        clip: bool = True,
    ) -> None:
        super().__init__()
        if kind == "eps" and schedule.zero_terminal_snr:
            raise LoangError(
                "A network that predicts eps can't start from zero terminal SNR:"
                " there the noise says nothing of the image.",
                "Predict v or x0 instead, or leave the schedule as it is.",
            )
        self.network = network
        self.schedule = schedule
        self.kind: Parameterization = kind
        self.clip = clip

    @property
    def classes(self) -> int:
        """How many labels the network knows; 0 for none."""
        return int(getattr(self.network, "classes", 0))

    def predict(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Int[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
        augmentation: Float[Tensor, "n parameters"] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """The network's own answer, in its own parameterisation and x_t's type; t in 1..T.

        `augmentation` says how training changed the images (augment.py); samplers change none.
        """
        # Most networks take three arguments.
        told = () if augmentation is None else (augmentation,)
        answer: Tensor = self.network(x_t, t, label, *told)
        return answer.to(x_t.dtype)

    def forward(
        self,
        x_t: Float[Tensor, "n c h w"],
        t: Int[Tensor, " n"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Estimate:
        """The image and the noise in x_t; t in 1..T, one an image."""
        answer = self.predict(x_t, t, label)
        signal, noise = like(self.schedule.signal(t), x_t), like(self.schedule.noise(t), x_t)
        x0 = parameterization.to_x0(self.kind, answer, x_t, signal, noise)
        if self.clip:
            x0 = x0.clamp(-1, 1)
            return Estimate(x0, parameterization.to_eps("x0", x0, x_t, signal, noise))
        return Estimate(x0, parameterization.to_eps(self.kind, answer, x_t, signal, noise))
