"""What a run knows of its own losses so far; kept in each checkpoint, beside the weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Ledger:
    """Losses and what they cost.

    Args:
        best: step and validation loss of the best report so far; empty before the first.
        finished: whether the budget is used up.
        loss: mean training loss between the last two reports.
        loss_sum, loss_count: of the steps since the last report.
        validation_loss: at the last validation, of the averaged weights.
        validation_seconds, validations: what validating has taken, and how often.
    """

    best: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    loss: float | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    validation_loss: float | None = None
    validation_seconds: float = 0.0
    validations: int = 0

    def close_report(self) -> None:
        """The mean loss since the last report becomes `loss`."""
        if self.loss_count:
            self.loss = self.loss_sum / self.loss_count
            self.loss_sum, self.loss_count = 0.0, 0

    def validated(self, step: int, loss: float, seconds: float) -> None:
        """Note a validation."""
        self.validation_loss = loss
        self.validation_seconds += seconds
        self.validations += 1
        if loss <= self.best.get("validation_loss", float("inf")):
            self.best = {"step": step, "validation_loss": loss}

    def to_facts(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Ledger":
        """The inverse of `to_facts`; what else is among the facts is left aside."""
        return cls(**{each.name: facts[each.name] for each in fields(cls) if each.name in facts})
