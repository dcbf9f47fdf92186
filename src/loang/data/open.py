"""Opens a data set by name, of any source, as images to learn from and images held out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from loang.data.collection import Collection
from loang.data.download import Progress
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.memory import require_memory
from loang.data.packing import packed
from loang.data.places.given import Given, named
from loang.data.sources import source_of
from loang.data.telling import check_spec
from loang.data.value_range import range_of, spaced
from loang.data.wishes import Wishes
from loang.errors import LoangError


def open_dataset(
    name: str | Path | Given = "fashion-mnist",
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    labels: bool = True,
    on_progress: Progress | None = None,
    **others: Any,
) -> Dataset:
    """Training and held-out images.

    Args:
        name: `fashion-mnist`, a folder of images, or any other place: see docs/data.md. A folder
            that is itself called `fashion-mnist` is meant by `./fashion-mnist`. Or a
            `torch.utils.data.Dataset` of images, or of pairs of an image and a label.
        size: height and width to bring all images to.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA) to convert to.
        labels: whether to keep the classes of the images.
        on_progress: called while downloading or reading with what, how much, of how much.
        **others: what else is asked of them: see `Wishes`.

    Raises:
        LoangError: there is no such data set, it cannot be read, or not be brought to that shape.
    """
    wishes = Wishes(size=size, channels=channels, labels=labels, on_progress=on_progress, **others)
    if size is not None and min(size) < 1:
        raise LoangError(
            f"Images cannot be {size[0]} pixels high and {size[1]} wide.",
            "Give --size numbers of at least 1.",
        )
    place = named(name)
    source = source_of(place)
    source.require_used(place, wishes)
    opened = source.open(place, wishes)
    return packed(opened, wishes) if isinstance(opened, Collection) else _brought(opened, wishes)


def _brought(dataset: Dataset, wishes: Wishes) -> Dataset:
    """Images that lie in memory, brought to what is wished for."""
    from loang.data.resize import convert_channels, resize, resize_picture

    spec, size = dataset.spec, wishes.size or (dataset.spec.height, dataset.spec.width)
    wanted = replace(
        spec,
        height=size[0],
        width=size[1],
        channels=wishes.channels or spec.channels,
        class_names=spec.class_names if wishes.labels else (),
    )
    check_spec(wanted, dataset.name)
    if size != (spec.height, spec.width):
        shape = (len(dataset.train) + len(dataset.validation), *size, wanted.channels)
        require_memory(shape, wanted.depth, dataset.name)
    found, notices = None, dataset.notices
    if wishes.range != "auto":
        train = dataset.train.pixels
        one, ends = math.prod(spec.shape), (float(train.min()), float(train.max()))

        def sample(most: int) -> Shaped[np.ndarray, "n h w c"]:
            return train[spaced(len(train), one, most)]

        found = range_of(wishes.range, spec.depth, *ends, sample, dataset.name)
        notices += found.notices

    def bring(images: Images) -> Images:
        images = convert_channels(images, wanted.channels)
        if wishes.fit == "crop":
            images = resize(images, *size)
        elif size != (images.spec.height, images.spec.width):
            behind = images.spec.high if wishes.background == "white" else images.spec.low
            pixels = [resize_picture(p, *size, wishes.fit, behind) for p in images.pixels]
            shape = replace(images.spec, height=size[0], width=size[1])
            images = Images(np.stack(pixels), shape, images.labels)
        if not wishes.labels:
            images = replace(images, labels=None, spec=replace(images.spec, class_names=()))
        if found is not None:
            images = replace(images, spec=replace(images.spec, low=found.low, high=found.high))
        return images

    changed = replace(dataset.map(bring), notices=notices)
    if changed.spec == dataset.spec:
        return dataset
    return replace(changed, fingerprint=fingerprint(changed.train, changed.validation))
