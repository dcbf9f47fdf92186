"""What a run minimises: anything that gives the loss of some images of a batch.

A trainer knows an `Objective` and no more. Two exist: `denoising.py`, and for a model that is
brought to few steps, `consistency.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from loang.loss import Loss
from loang.team.team import Team

OWN = "objective/"
"""Before the names of an objective's parameters where the network's stand too."""


class Moment(NamedTuple):
    """Where a run stands as a batch begins.

    Args:
        step: optimizer's steps done: keys all that is drawn.
        position: of the batch's first image in the order of images.
        share: of the budget that is used, 0..1.
    """

    step: int
    position: int
    share: float


class Pace(NamedTuple):
    """Factors of the learning rate.

    Args:
        network: of the network's weights.
        own: of the objective's own parameters.
    """

    network: float
    own: float


class Objective(ABC):
    """The loss of some images of a batch, and what it must remember from step to step.

    One that trains parameters of its own, or keeps a history, names them all in `tensors`; they
    are part of each checkpoint, and of no model file.
    """

    looks: int = 1
    """Evaluations that an image's `error` takes: validation takes as many fewer images."""
    evenly: bool = False
    """Whether `loss` must ask the network as often for any images: the processes of a team fetch
    parts of its weights from one another then, and wait for each other."""

    @abstractmethod
    def loss(self, moment: Moment, numbers: Int[Tensor, " n"]) -> Loss:
        """Of the images of those numbers, 0..batch-1, of the batch of that moment.

        A batch may be computed in any parts: an image's loss depends on none of the others' being
        in the same call, or process. It may be asked for again, after `begin`, in other parts.
        """

    @abstractmethod
    def error(
        self,
        x0: Float[Tensor, "n c h w"],
        label: Int[Tensor, " n"] | None,
        numbers: Int[Tensor, " n"],
    ) -> Float[Tensor, " n"]:
        """Of held-out images of those numbers: what validation is a mean of.

        The same each time for the same weights, and comparable between runs whose schedule and
        prediction are the same: without weights.
        """

    def begin(self) -> None:  # noqa: B027
        """A batch is computed from its start; what was noted of an unfinished one is void."""

    def settle(self, team: Team) -> None:  # noqa: B027
        """All parts of a batch have been computed, in all processes of the team.

        Raises:
            Lost: one of them is gone; nothing has changed then.
        """

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Trained beside the network, without weight decay."""
        return {}

    def pace(self, share: float) -> Pace:
        """How fast network and parameters learn, `share` of the budget being used."""
        return Pace(1.0, 1.0)

    def tensors(self) -> Mapping[str, Tensor]:
        """All that decides what comes next: `parameters` by the same names, and any history."""
        return self.parameters()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave.

        Raises:
            KeyError: one is missing.
            RuntimeError: one is of another shape.
        """
        for name, own in self.tensors().items():
            if own.shape != tensors[name].shape:
                raise RuntimeError(f"the objective's {name} is of another shape")
            own.detach().copy_(tensors[name])
