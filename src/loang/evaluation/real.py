"""The real images that a model's samples are measured against."""

from dataclasses import replace
from pathlib import Path

from loang.config import DataSettings
from loang.data.download import Progress
from loang.data.images import Dataset, Images
from loang.errors import LoangError
from loang.model import Model
from loang.training.asked import open_images
from loang.training.places import beside, is_same, kind_of, located

OF_THE_FILES = ("labels_file", "unreadable", "follow_links")
OF_TABLES = ("label_column", "image_column")


def real_images(
    model: Model, data: str | Path | None, path: Path, on_progress: Progress | None = None
) -> Dataset:
    """The images named, or those that a model learned from, at its size and with its channels.

    Where they are of the model's depth they are shown in its range, as its samples are: values stay
    in their own units. What was asked of the training's own files is not asked of others.

    Args:
        model: that is measured.
        data: what a person named, if anything.
        path: of the model's run or file.
        on_progress: told of downloads and of images read.

    Raises:
        LoangError: there are none of that name, or they can't be read.
    """
    spec, learned = model.spec, model.settings.data
    if data is None and learned.source is None:
        raise LoangError(
            "The model does not say which images it learned from.",
            "Name them: loang evaluate MODEL DATA.",
        )
    places = beside(path, learned)
    gone = None
    if data is None:
        asked = [learned]
        gone = f"Name them, wherever they are: loang evaluate {path} DATA"
    else:
        asked, places = _of(str(data), located(learned, places)), None
    shape = {"size": (spec.height, spec.width), "channels": spec.channels}

    def opened(data: DataSettings) -> Dataset:
        settings = model.settings.model_copy(update={"data": data.model_copy(update=shape)})
        return open_images(settings, on_progress, places=places, gone=gone)

    try:
        dataset = opened(asked[0])
    except LoangError as error:
        if len(asked) == 1:
            raise
        try:
            dataset = opened(asked[1])
        except LoangError:
            raise error from None
    if dataset.spec.depth != spec.depth:
        return dataset

    def seen(images: Images) -> Images:
        return replace(images, spec=replace(images.spec, low=spec.low, high=spec.high))

    return dataset.map(seen)


def _of(name: str, learned: DataSettings) -> list[DataSettings]:
    """What is asked of images that a person named, and what else if they can't be opened so."""
    if is_same(name, learned.source):
        return [learned.model_copy(update={"source": name})]
    defaults = DataSettings(source=name)
    files = {key: getattr(defaults, key) for key in ("source", *OF_THE_FILES)}
    tables = {key: getattr(defaults, key) for key in OF_TABLES}
    other = learned.model_copy(update=files)
    plain = other.model_copy(update=tables)
    # Another table of the same kind often has the same columns.
    alike = other != plain and kind_of(name) is kind_of(learned.source)
    return [other, plain] if alike else [plain]
