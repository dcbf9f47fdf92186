"""Which of a job's processes this one is."""

import os
from dataclasses import dataclass

from loang.errors import LoangError


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of its job.

    Args:
        rank: 0..size-1 in the job; 0 leads.
        size: processes in the job.
        local_rank: as `rank`, on its machine: the number of its GPU.
        local_size: processes on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def here(cls) -> "Place":
        """What a launcher (`torchrun`, `accelerate launch`) says; alone where there is none.

        Raises:
            LoangError: the environment says what can't be.
        """
        size, rank = _number("WORLD_SIZE", 1), _number("RANK", 0)
        local_rank = _number("LOCAL_RANK", rank)
        local_size = _number("LOCAL_WORLD_SIZE", 1 if size == 1 else local_rank + 1)
        if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
            raise LoangError(
                f"RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK={local_rank} and"
                f" LOCAL_WORLD_SIZE={local_size} in the environment are of no job.",
                "Start loang by `torchrun -m loang`, or without these variables.",
            )
        return cls(rank, size, local_rank, local_size)

    def gpu(self, seen: int) -> int:
        """The number of its GPU among so many that it sees; `seen` or more where it has none.

        torchrun's processes all see the same. Another launcher may show each its own alone (SLURM's
        --gpus-per-task), which is number 0 then.
        """
        alone = seen == 1 and "TORCHELASTIC_RUN_ID" not in os.environ
        return 0 if alone else self.local_rank

    def __str__(self) -> str:
        return f"process {self.rank} of {self.size}"


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return otherwise
    if not text.isascii() or not text.isdigit():
        raise LoangError(
            f"The environment says {name}={text}, which is no number.",
            "Start loang by `torchrun -m loang`, or without this variable.",
        )
    return int(text)
