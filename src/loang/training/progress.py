"""Where a run stands."""

from dataclasses import dataclass


@dataclass
class Progress:
    """Where a run stands.

    Args:
        step: optimizer's steps done, those included whose update was skipped.
        images: images seen; also the position in the order of images.
        seconds: of the budget, over all sessions.
        skipped: steps without an update, as their loss or gradient was no number.
        returns: how often the run went back to a checkpoint because of such steps.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    returns: int = 0

    @property
    def slowing(self) -> float:
        """The factor of the learning rate: half of it after each return."""
        return 0.5**self.returns
