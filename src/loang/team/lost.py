"""Why a process of a job can't go on: another one is gone, or the leader has ended."""

from typing import Any

from loang.errors import LoangError


class Lost(LoangError):
    """A process of the job has ended before its time.

    Args:
        names: of those that are known to be gone.
        why: what failed here.
    """

    def __init__(self, names: list[str], why: str) -> None:
        who = " and ".join(names) or f"a process of this job ({why})"
        super().__init__(f"{who[0].upper()}{who[1:]} was lost.", "Start the job again.")
        self.names = names
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.names, self.why)


class Dismissed(LoangError):
    """The leader has ended early, and has told why; the others only end."""

    def __init__(self) -> None:
        super().__init__("The leading process of this job has ended early.", "See what it says.")
        self.exit_status = 1
        self.told = True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


def of_a_connection(error: Exception) -> bool:
    """Whether an error is of two processes that no longer hear each other."""
    words = ("onnection", "timed out", "Timed out", "ocket", "Broken pipe", "NCCL")
    return any(each in str(error) for each in words)
