"""What an evaluation found, complete: what report.json holds and every other view is drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loang.evaluation.table import MEASURES, Cell, Column
from loang.likelihood.result import Likelihood
from loang.metrics.classes import ClassDistance
from loang.metrics.memorisation import Memorisation
from loang.pictures.evaluation_page import Gallery

FORMAT = 1
SUSPECTS = 20  # samples most like a training image that are named and shown
COLUMNS = {
    "samples": "samples",
    "floor": "other real images",
    "gaussian": "pixel Gaussian",
    "noise": "noise",
}


@dataclass(frozen=True)
class Space:
    """One feature space, and everything that was measured in it.

    Args:
        name, digest, preprocessing, dimension: which space; numbers of two reports compare only
            where name and digest are the same.
        about: how its network was trained, where it has one.
        columns: by name: `samples`, and in their place `floor`, `gaussian`, `noise`.
        by_class: Fréchet distance of each class: of samples, and of as many real images. Of the
            report's first space alone.
    """

    name: str
    digest: str
    preprocessing: str
    dimension: int
    about: Mapping[str, Any]
    columns: Mapping[str, Column]
    by_class: Sequence[tuple[Cell, Cell]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "digest": self.digest,
            "preprocessing": self.preprocessing,
            "dimension": self.dimension,
            "about": dict(self.about),
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "frechet_by_class": [
                {"samples": samples.to_dict(), "floor": floor.to_dict()}
                for samples, floor in self.by_class
            ],
        }


@dataclass(frozen=True)
class Classes:
    """What a classifier sees in the samples.

    Args:
        names: of the classes.
        seen_by: the space whose classifier looked.
        asked: how many samples of each class were asked for; empty where none was.
        shares: of each class among the samples, as the classifier sees them, and
        real_shares: among the floor's images.
        apart: how far the two lie apart (total variation), and by chance alone would.
        accuracy: share of samples that are seen as the class that was asked for; None where none
            was asked for. And
        real_accuracy: the same of the floor's images: the ceiling.
        by_class: accuracy of each class.
        score: accuracy on held-out images of a classifier that learned from the samples alone
            (Ravuri and Vinyals 2019), and
        real_score: of one that learned from as many real images: the ceiling.
    """

    names: Sequence[str]
    seen_by: str
    shares: Sequence[float]
    real_shares: Sequence[float]
    apart: ClassDistance
    asked: Sequence[int] = ()
    accuracy: Cell | None = None
    real_accuracy: Cell | None = None
    by_class: Sequence[Cell] = ()
    score: Cell | None = None
    real_score: Cell | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def plain(cell: Cell | None) -> dict[str, Any] | None:
            return None if cell is None else cell.to_dict()

        return {
            "names": list(self.names),
            "seen_by": self.seen_by,
            "asked": list(self.asked),
            "shares": list(self.shares),
            "real_shares": list(self.real_shares),
            "shares_apart": {
                **Cell(self.apart.distance).to_dict(),
                "by_chance": self.apart.floor,
                "p_value": self.apart.p_value,
            },
            "accuracy": plain(self.accuracy),
            "real_accuracy": plain(self.real_accuracy),
            "accuracy_by_class": [cell.to_dict() for cell in self.by_class],
            "classifier_accuracy_score": plain(self.score),
            "real_classifier_accuracy_score": plain(self.real_score),
        }


@dataclass(frozen=True)
class Report:
    """An evaluation.

    Args:
        subject: what was measured: name, count, where it comes from.
        data: the real images: name, fingerprint, how many play which part.
        spaces: the first is the one that the sentences speak of.
        copies: which samples are copies of training images, by what they were compared in.
        classes: None where no classifier knows the classes.
        provenance: versions, hardware, seed, date, command, seconds.
        notices: what the person should know of it.
        gallery: the images that the page shows.
        history: of a run's checkpoints, in the order of steps; empty where not asked for.
        likelihood: of held-out images by the model; None where not asked for.
    """

    subject: Mapping[str, Any]
    data: Mapping[str, Any]
    spaces: Sequence[Space]
    copies: Mapping[str, Memorisation]
    classes: Classes | None
    provenance: Mapping[str, Any]
    notices: Sequence[str]
    gallery: Gallery = field(repr=False)
    history: Sequence[Mapping[str, Any]] = ()
    likelihood: Likelihood | None = None

    @property
    def space(self) -> Space:
        """The space that the sentences speak of."""
        return self.spaces[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the images, as plain values for JSON."""
        return {
            "format": FORMAT,
            "subject": dict(self.subject),
            "data": dict(self.data),
            "measures": {m.name: {"title": m.title, "better": m.better} for m in MEASURES},
            "spaces": [space.to_dict() for space in self.spaces],
            "memorisation": {name: _copies(found) for name, found in self.copies.items()},
            "classes": None if self.classes is None else self.classes.to_dict(),
            "history": [dict(point) for point in self.history],
            "likelihood": None if self.likelihood is None else self.likelihood.to_dict(),
            "notices": list(self.notices),
            "provenance": dict(self.provenance),
        }


def _copies(found: Memorisation) -> dict[str, Any]:
    """Of the samples most like a training image, which they are and whose copies."""
    worst = found.order[:SUSPECTS]
    return {
        "share": found.share.value,
        "interval_95": list(found.interval),
        "flagged": found.flagged,
        "held_out_rate": found.held_out_rate,
        "threshold": found.threshold,
        "calibrated": found.calibrated,
        "most_suspicious": [
            {
                "sample": int(index),
                "training_image": int(found.neighbours[index]),
                "distance": float(found.distances[index]),
                "ratio": float(found.statistic[index]),
            }
            for index in worst
        ],
    }
