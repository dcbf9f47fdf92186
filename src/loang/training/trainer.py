"""The training step, one batch at a time; what is minimised is its objective's."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loang import device
from loang.build import build_denoiser
from loang.config import Settings
from loang.data.images import Images
from loang.denoiser import Denoiser
from loang.errors import LoangError
from loang.networks.recompute import recompute
from loang.team.team import ALONE, Team
from loang.training.budget import learning_rate
from loang.training.checkpoint import Checkpoint
from loang.training.dropping import Dropping
from loang.training.ema import MODEL_AVERAGE, Ema, averages, filled, lent
from loang.training.examples import Examples, Source
from loang.training.objective import OWN, Moment
from loang.training.objectives import objective
from loang.training.optimizer import optimizer
from loang.training.progress import Progress
from loang.training.shards import Shards
from loang.training.validation import error, validated
from loang.training.weights import Weights

STEP, RESTORE, GATHER, EXAMINE = "step", "restore", "gather", "examine"
"""The words by which a team's leader has the others take a step; and, where each holds a part of
the weights, go on from a checkpoint, give their parts of it, and look at a step again."""


class Step(NamedTuple):
    """What a step of training was like; still on the device.

    Args:
        loss: mean over the batch, without weights.
        gradient: its norm over all parameters, before it was clipped.
    """

    loss: Float[Tensor, ""]
    gradient: Float[Tensor, ""]


class Trainer:
    """A denoiser, its objective, optimizer and average, and the images it learns.

    All that decides a step is the settings, the weights, the optimizer, the average, what the
    objective keeps and the `Progress`: a checkpoint of these goes on exactly. No generator holds
    any state.

    Args:
        denoiser: trained in place.
        images: of the training split.
        settings: batch, learning rate, weighting and so on.
        on: device.
        team: of the processes that share each batch.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        images: Images,
        settings: Settings,
        on: torch.device,
        team: Team = ALONE,
    ) -> None:
        self.team = team
        self.denoiser = denoiser
        spread = settings.training.shard and team.size > 1
        self.weights = (Shards if spread else Weights)(denoiser.network, on, team)
        self.source = Source(images, settings, denoiser.classes, on)
        self.settings = settings
        self.device = on
        self.dtype = device.autocast_type(on, settings.training.precision)
        self.progress = Progress()
        self.share = 0.0
        recompute(denoiser, settings.training.recompute)  # before an objective makes copies of it
        self.objective = objective(self.denoiser, self.source, settings)
        self.objective.evenly = self.weights.sharded
        fused = on.type in ("cpu", "cuda")
        self.optimizer = optimizer(settings.optimizer, self.weights, fused)
        self.ahead = on.type == "cuda"
        """Whether a step is asked for before it is known that its loss is a number."""
        if own := list(self.objective.parameters().values()):
            self.optimizer.add_param_group({"params": own, "weight_decay": 0.0})
        training = settings.training
        self.part = team.part(training.batch)
        """Of each batch, what this process computes; all of it, if it is alone."""
        self.micro_batch = min(training.micro_batch or len(self.part), len(self.part))
        """Images computed at once; the gradients of a batch's parts are added up."""
        self._wanted = self.micro_batch
        self.dropping = Dropping(denoiser, training.seed, on)
        self.averages = averages(settings.ema, self.weights.values())

    @property
    def images(self) -> Images:
        """Of the training split."""
        return self.source.images

    @property
    def ema(self) -> Ema:
        """The average that is the model."""
        return self.averages[MODEL_AVERAGE]

    @property
    def moment(self) -> Moment:
        """Where the run stands."""
        return Moment(self.progress.step, self.progress.images, self.share)

    def step(self, share: float) -> Step:
        """One step of the optimizer.

        A loss or gradient that is no number changes neither weights nor moments. On a GPU of CUDA's
        the fused optimizer sees to that itself, so that nothing waits for it.

        Args:
            share: of the budget that is used, 0..1; it decides the learning rate.

        Raises:
            LoangError: not even a single image fits in memory; or, where weights are spread over
                processes, not as many as the others take.
            Lost: another process of the team is gone; nothing has changed then.
        """
        if self.team.leads:
            self.team.tell([STEP, share])
        progress, chosen = self.progress, self.settings.optimizer
        self.share = share
        rate = progress.slowing * learning_rate(chosen, progress.step, share)
        for group, pace in zip(
            self.optimizer.param_groups, self.objective.pace(share), strict=False
        ):
            group["lr"] = pace * rate
        loss = self.gradients()
        own = list(self.objective.parameters().values())
        gradient = self.weights.settle(loss, own, chosen.clip_norm or float("inf"))
        self.objective.settle(self.team)
        sound = torch.isfinite(loss) & torch.isfinite(gradient)
        if self.ahead:
            self.optimizer.found_inf = (~sound).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif bool(sound):
            self.optimizer.step()
        progress.step += 1
        progress.images += self.settings.training.batch
        weights = self.weights.values()
        for average in self.averages.values():
            average.update(weights.items(), progress.step)
        return Step(loss, gradient)

    def gradients(self, part: range | None = None) -> Float[Tensor, ""]:
        """The gradients of a batch's part, by as many images at once as memory allows.

        Args:
            part: numbers of images in the batch; None takes this process's.

        Returns:
            The sum of the part's losses by the size of the whole batch, as gradients are.
        """
        while True:
            try:
                return self.weights.compute(
                    lambda: self._gradients() if part is None else self._gradients(part)
                )
            except (RuntimeError, MemoryError) as error:
                if not device.out_of_memory(error):
                    raise
                if self.weights.sharded and self.micro_batch > 1:
                    # The others wait for this one to ask as they do: it can't begin anew alone.
                    raise LoangError(
                        f"There is not enough memory to train on {self.micro_batch:,} images at"
                        " once.",
                        "Go on with fewer: loang train --resume --set training.micro_batch="
                        f"{self.micro_batch // 2}.",
                    ) from error
                if self.micro_batch == 1:
                    raise LoangError(
                        "There is not enough memory to train on a single image at once.",
                        "Choose a smaller --size, or a smaller network with --set network.width.",
                    ) from error
            # Outside of the handler: the error holds on to what was computed.
            self.micro_batch = (self.micro_batch + 1) // 2
            device.release_memory(self.device)

    def _gradients(self, part: range | None = None) -> Float[Tensor, ""]:
        own = part is None
        part = self.part if part is None else part
        training, moment = self.settings.training, self.moment
        self.denoiser.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.weights.begin()
        self.objective.begin()
        total = torch.zeros((), device=self.device)
        for start in part[:: self.micro_batch]:
            numbers = torch.arange(start, min(start + self.micro_batch, part.stop))
            with self.dropping.seeded(moment.step, start), self.autocast():
                loss = self.objective.loss(moment, numbers)
            if own and start + self.micro_batch >= part.stop:
                self.weights.last()
            (loss.weighted.sum() / training.batch).backward()
            total += loss.plain.detach().sum() / training.batch
        return total

    def autocast(self) -> torch.autocast:
        """The context in which the network runs.

        Where weights are fetched and dropped again, none is kept in another type either.
        """
        return device.autocast(self.device, self.dtype, keeps=not self.weights.sharded)

    def batch(self, position: int, size: int) -> Examples:
        """The images number position, position + 1, ... of the run."""
        return self.source(position, size)

    def validated(self, images: Images) -> range:
        """The numbers of the images that `validate` looks at."""
        return validated(len(images), self.objective.looks)

    @cached_property
    def shown(self) -> Denoiser:
        """What is validated and drawn from: what is trained; or where no process has all of that,
        one beside it, in main memory, that gets its weights by `averaged`."""
        if not self.weights.sharded:
            return self.denoiser
        return build_denoiser(self.settings, self.images.spec)

    def validate(self, images: Images, part: range | None = None) -> float:
        """The mean of the objective's error over the images, the same each time.

        Args:
            images: held out.
            part: of the images that are `validated`, 0 for the first; None takes all of these.
        """
        every, shown, judge = self.validated(images), self.shown, self.objective
        numbers = every if part is None else every[part.start : part.stop]
        if self.weights.sharded:
            judge = objective(shown, self.source, self.settings)
        # Without gradients a batch takes a fraction of the memory that it takes in training.
        batch = min(256, 4 * self.micro_batch)
        return error(shown, judge, images, numbers, batch, self.device, self.dtype)

    def averaged(
        self, weights: Mapping[str, Tensor] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """A context in which `shown` has the average's weights, or those of another."""
        if weights is None:
            weights = self.whole([MODEL_AVERAGE])[MODEL_AVERAGE]
        if self.weights.sharded:
            return filled(self.shown.network, weights, self.device)
        return lent(self.denoiser.network, weights)

    def held(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint by its files, as this process holds them."""
        names = list(self._trained())
        slots = {}
        for index, values in self.optimizer.state_dict()["state"].items():
            for slot, value in values.items():
                slots[f"{names[index]}/{slot}"] = value
        own = self.objective.tensors()
        return {
            "model": self.weights.values(),
            **{file: average.tensors for file, average in self.averages.items()},
            "optimizer": slots,
            **({"objective": dict(own)} if own else {}),
        }

    def whole(self, files: Iterable[str] | None = None) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint whole, at the leader; with others nothing is promised.

        Args:
            files: some of its files; None: all.

        Raises:
            Lost: a process is gone that held a part.
        """
        held = self.held()
        files = list(held if files is None else files)
        if self.weights.sharded and self.team.leads:
            self.team.tell([GATHER, files])
        return {file: self.weights.whole(held[file]) for file in files}

    def checkpoint(self, facts: Mapping[str, Any]) -> Checkpoint:
        """All that `restore` needs, with `facts` kept beside the progress."""
        # As memory allowed: what the settings say is each number of processes' own.
        fewer = self.micro_batch if self.micro_batch < self._wanted else None
        state = {"progress": asdict(self.progress), "micro_batch": fewer, "facts": dict(facts)}
        return Checkpoint(self.whole(), state, apart=self.weights.sharded)

    def restore(self, checkpoint: Checkpoint) -> Mapping[str, Any]:
        """Go on from a checkpoint; returns the facts that it keeps.

        Where each process holds a part of the weights, all are restored with the leader: from its
        checkpoint, whatever theirs is.
        """
        if self.weights.sharded:
            if self.team.leads:
                self.team.tell([RESTORE])
            checkpoint = self.weights.handed(checkpoint)
        tensors = checkpoint.tensors
        self.weights.load(tensors["model"])
        for file, average in self.averages.items():
            for name, tensor in average.tensors.items():
                tensor.copy_(tensors[file][name])
        self.objective.restore(tensors.get("objective", {}))
        parameters = self._trained()
        names = list(parameters)
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in tensors["optimizer"].items():
            name, _, slot = path.rpartition("/")
            if tensor.shape == parameters[name].shape:
                # The fused optimizer walks through memory: moments must lie as their weights do.
                tensor = torch.empty_like(parameters[name]).copy_(tensor)
            state.setdefault(names.index(name), {})[slot] = tensor
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
        self.progress = Progress(**checkpoint.state["progress"])
        at_once = checkpoint.state.get("micro_batch") or self.micro_batch
        self.micro_batch = min(at_once, self.micro_batch)
        facts: Mapping[str, Any] = checkpoint.state["facts"]
        return facts

    def _trained(self) -> dict[str, nn.Parameter]:
        """All that the optimizer changes, in its order."""
        own = self.objective.parameters()
        return {
            **self.weights.trained(),
            **{f"{OWN}{name}": parameter for name, parameter in own.items()},
        }
