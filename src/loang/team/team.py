"""The processes of one job, which share the work of each batch.

One of them leads. It alone decides, reads the clock, writes and speaks; the others do as it tells
them. So nothing can be decided differently in two places, and what is written is written once.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist

from loang import device
from loang.team.aside import aside, end_at_once
from loang.team.lost import Dismissed, Lost, of_a_connection
from loang.team.place import Place
from loang.team.pulse import Pulse
from loang.team.sums import Sum, buckets

AT_ONCE = 256
"""Bytes of a message that go with its length; longer ones take a second round."""
DISMISSING = 10.0
"""Seconds that a leader who ends early waits for the others' end."""
SHORTEST, LONGEST = 2e-5, 5e-4
"""Seconds between two looks at what is waited for."""
BUCKET = 2**25
"""Numbers that are added up in one go."""

T = TypeVar("T")


class Team:
    """This process among those of its job; by itself, one that is alone.

    Args:
        place: of this process.
        control: the group in which the leader tells things, on the CPU.
        pulse: knows who lives.
    """

    def __init__(
        self,
        place: Place | None = None,
        control: "dist.ProcessGroup | None" = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.place = place or Place()
        self.control = control
        self.pulse = pulse
        self.over = False
        """Whether the leader has ended early: nothing can be shared any more."""
        self.torn = False
        """Whether a process was missed while something was shared, which may never end."""

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.place.size

    @property
    def leads(self) -> bool:
        """Whether this is the one that decides."""
        return self.place.rank == 0

    def part(self, count: int) -> range:
        """Of `count` things this process's share: as large as the others', or one more."""
        rank = self.place.rank
        return range(rank * count // self.size, (rank + 1) * count // self.size)

    def tell(self, value: Any = None) -> Any:
        """The leader's value, everywhere.

        Args:
            value: plain values for JSON; what others than the leader give is not looked at.

        Raises:
            Lost: a process is gone.
        """
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.leads else b""
        first = np.zeros(AT_ONCE, np.uint8)
        if self.leads:
            head = len(text).to_bytes(8, "little") + text[: AT_ONCE - 8]
            first[: len(head)] = np.frombuffer(head, np.uint8)
        self._broadcast(torch.from_numpy(first))
        length = int.from_bytes(first[:8].tobytes(), "little")
        rest = np.frombuffer(bytearray(text[AT_ONCE - 8 :]), np.uint8)
        if length > AT_ONCE - 8:
            rest = rest if self.leads else np.empty(length - (AT_ONCE - 8), np.uint8)
            self._broadcast(torch.from_numpy(rest))
        if self.leads:
            return value
        return json.loads((first[8:].tobytes() + rest.tobytes())[:length])

    def hand_out(
        self,
        tensors: Mapping[str, Tensor] | None = None,
        keep: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor,
    ) -> dict[str, Tensor]:
        """The leader's tensors, everywhere: with it as they are, with the others on the CPU.

        Args:
            tensors: the leader's; what others than it give is not looked at.
            keep: what is kept of each, by its name; no process holds more than one of them whole.

        Raises:
            Lost: a process is gone.
        """
        given = tensors or {}
        if self.size == 1:
            return dict(given)
        kinds = {name: (list(t.shape), str(t.dtype)[6:]) for name, t in given.items()}
        kinds = self.tell(kinds)
        kept = {}
        for name, (shape, kind) in kinds.items():
            if self.leads:
                whole = given[name]
                sent = whole.detach().to("cpu", memory_format=torch.contiguous_format)
            else:
                whole = sent = torch.empty(shape, dtype=getattr(torch, kind))
            self._broadcast(sent.reshape(-1).view(torch.uint8))
            kept[name] = keep(name, whole)
        return kept

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes the sum of its counterparts in all processes.

        Args:
            tensors: of one type, on one device; as many and of the same shapes everywhere.

        Raises:
            Lost: a process is gone. None of them was changed then.
        """
        if self.size == 1 or not tensors:
            return
        self.end_sums([self.begin_sum(bucket) for bucket in buckets(tensors, BUCKET)], tensors)

    def begin_sum(self, tensors: Sequence[Tensor]) -> Sum:
        """The sum of each with its counterparts in all processes: under way, not there yet.

        Args:
            tensors: as of `add_up`, of which there may be none; they are copied.

        Raises:
            Lost: a process is gone.
        """
        if not tensors:
            return Sum([], torch.empty(0), None)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        work = self._begin(partial(dist.all_reduce, flat, async_op=True))
        return Sum([tensor.shape for tensor in tensors], flat, work)

    def end_sums(self, sums: Sequence[Sum], tensors: Iterable[Tensor]) -> None:
        """Wait for these sums, and put them in their places.

        Args:
            sums: begun.
            tensors: as many and of the same shapes as these are of; each becomes its sum.

        Raises:
            Lost: a process is gone. None of them was changed then.
        """
        for each in sums:
            if each.work is not None:
                self._await(each.work)
        for tensor, part in zip(tensors, chain(*(each.parts() for each in sums)), strict=True):
            tensor.detach().copy_(part)

    def whole(self, part: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "_ ..."]:
        """What all processes have of something, one after the other, everywhere.

        Args:
            part: of this process; all else of the others' is the same.

        Raises:
            Lost: a process is gone.
        """
        if self.size == 1:
            return part
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.place.rank] = len(part)
        self.add_up([counts])
        ends = counts.cumsum(0)
        end = int(ends[self.place.rank])
        found = part.new_zeros((int(ends[-1]), *part.shape[1:]))
        found[end - len(part) : end] = part
        self.add_up([found])
        return found

    def gather(
        self, array: Shaped[np.ndarray, "n ..."], counts: Sequence[int]
    ) -> list[Shaped[np.ndarray, "_ ..."]]:
        """What all processes have, at the leader; with the others, their own.

        Args:
            array: of this process.
            counts: how long each process's array is, not all 0; all else of them is the same.

        Raises:
            Lost: a process is gone.
        """
        if self.size == 1:
            return [array]
        # One of torch's own: of a single sending, it does not say whether it is done.
        own = np.zeros((max(counts), *array.shape[1:]), array.dtype)
        own[: len(array)] = array
        others = [np.empty_like(own) for _ in range(self.size if self.leads else 0)]
        self._wait(
            partial(
                dist.gather,
                _as_bytes(own),
                [_as_bytes(each) for each in others] if self.leads else None,
                dst=0,
                group=self.control,
                async_op=True,
            )
        )
        if not self.leads:
            return [array]
        return [each[:count] for each, count in zip(others, counts, strict=True)]

    def meet(self, on: torch.device) -> None:
        """A first sum on these devices, before any in the midst of other work; errors as `within`.

        With it GPUs find one another, for minutes if need be, where no signal is heard.
        """
        if self.pulse:
            self.within(lambda: self.add_up([torch.zeros(1, device=on)]))

    def within(self, work: Callable[[], T]) -> T:
        """What `work` gives, within which torch itself waits for the other processes.

        It runs in a thread of its own: torch waits where no signal is heard, and for minutes for a
        machine that is gone. What is noticed here as in `_wait` leaves that thread behind.

        Raises:
            Lost: a process is gone.
            Dismissed: the leader has ended early.
        """
        if self.over:
            raise Dismissed
        try:
            return aside(work, self._check, self.pulse.stop if self.pulse else lambda: None)
        except RuntimeError as error:
            self._explain(error)
            raise

    def dismiss(self, patience: float = DISMISSING) -> None:
        """The leader ends early: the others need wait no longer, and say nothing of it.

        Wherever they are: they may just now wait for a sum, or for somebody to take what they send.

        Args:
            patience: seconds to wait for their end.
        """
        if self.leads and self.pulse and not self.over:
            self.over = True
            self.pulse.dismiss(patience)

    def _broadcast(self, tensor: Tensor) -> None:
        self._wait(partial(dist.broadcast, tensor, src=0, group=self.control, async_op=True))

    def _wait(self, begin: "Callable[[], dist.Work | None]") -> None:
        """Until what is begun here is done everywhere, or can't be any more."""
        self._await(self._begin(begin))

    def _begin(self, begin: "Callable[[], dist.Work | None]") -> "dist.Work":
        """What all processes do together, begun here.

        Raises:
            Lost: a process is gone.
            Dismissed: the leader has ended early.
        """
        if self.over:
            raise Dismissed
        try:
            work = begin()
        except RuntimeError as error:
            self._explain(error)
            raise
        assert work
        return work

    def _await(self, work: "dist.Work") -> None:
        """Until it is done everywhere, or can't be any more.

        Looked at now and then, and not waited for within torch: so a signal is heard, a process
        that is gone is noticed, and nothing on a GPU goes on from a sum that never came.

        Raises:
            Lost: a process is gone.
            Dismissed: the leader has ended early.
        """
        try:
            pause = SHORTEST
            while not work.is_completed():
                self._check()
                time.sleep(pause)
                pause = min(2 * pause, LONGEST)
            work.wait()
        except RuntimeError as error:
            self._explain(error)
            raise
        except (Lost, Dismissed, KeyboardInterrupt) as error:
            if self.pulse:
                end_at_once(error, self.pulse.stop, lambda: not work.is_completed())
            raise

    def _check(self) -> None:
        """Whether what is waited for can still be."""
        if self.pulse and (self.pulse.gone or self.pulse.dismissed):
            self._fail(self.pulse.gone, "nothing is heard of it")

    def _explain(self, error: RuntimeError) -> None:
        """Raise what an error of torch's comes from, if that is another process."""
        if device.out_of_memory(error):
            return
        names = self.pulse.lost() if self.pulse else []
        dismissed = self.pulse and self.pulse.dismissed
        if names or dismissed or of_a_connection(error):
            self._fail(names, str(error).partition("\n")[0])

    def _fail(self, names: list[str], why: str) -> NoReturn:
        dismissed = bool(self.pulse and self.pulse.dismissed)
        self.over |= dismissed
        self.torn = True
        raise Dismissed() if dismissed else Lost(names, why)


ALONE = Team()
"""A process that no launcher has started."""


def _as_bytes(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.reshape(-1).view(np.uint8))
