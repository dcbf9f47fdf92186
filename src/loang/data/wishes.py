"""What a person asks of images."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from loang.data.download import Progress
from loang.data.resize import Fit


@dataclass(frozen=True)
class Wishes:
    """How images are read, and brought to one shape; the words are those of `config.DataSettings`.

    Args:
        size: height and width; None keeps it, or chooses one where there are several.
        channels: 1, 3 or 4, or any other number that the images have; None keeps them.
        fit: how pictures of another shape are brought to `size`: see `resize_picture`.
        background: what transparent pictures are laid on, and padded with.
        range: which stored values become -1 and 1: see `value_range`.
        labels: whether to keep the classes of the images.
        labels_file: a CSV or JSONL file of them; None looks for one in the folder.
        label_column: of that file, or of a table of images.
        image_column: the same.
        unreadable: the share of images that may be bad, 0..1.
        follow_links: also links that leave a folder.
        on_progress: called while downloading or reading with what, how much, of how much.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: Fit = "crop"
    background: Literal["white", "black"] = "white"
    range: Literal["auto", "full", "data", "percentiles", "unit"] = "auto"
    labels: bool = True
    labels_file: str | None = None
    label_column: str | None = None
    image_column: str | None = None
    unreadable: float = 0.05
    follow_links: bool = False
    on_progress: Progress | None = None

    def of_pixels(self) -> dict[str, Any]:
        """All that decides what is read and kept, but for its shape; for JSON."""
        values = asdict(replace(self, on_progress=None))
        for name in ("unreadable", "on_progress", "size", "channels"):
            del values[name]
        return values

    def of_shape(self) -> list[Any]:
        """Size and channels, for JSON."""
        return [None if self.size is None else tuple(self.size), self.channels]
