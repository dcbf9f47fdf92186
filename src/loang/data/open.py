"""Opens a data set by name: Fashion-MNIST, a folder of images, or an array file."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from loang.data.download import Progress
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.memory import require_memory
from loang.errors import LoangError
from loang.untrusted import shown

Size = tuple[int, int] | None
KINDS = "fashion-mnist, a folder of images, or a .npy or .npz file"


@dataclass(frozen=True)
class Wishes:
    """What a person asks of the images; a source may leave size and channels to `open_dataset`.

    Args:
        size: height and width.
        channels: 1, 3 or 4.
        follow_links: also links that leave a folder.
        on_progress: called while downloading or decoding.
    """

    size: Size = None
    channels: int | None = None
    follow_links: bool = False
    on_progress: Progress | None = None


@dataclass(frozen=True)
class Source:
    """One kind of place that images come from.

    Args:
        name: what it is called in messages.
        accepts: whether a name that a person gave is of this kind.
        open: the images of that name.
    """

    name: str
    accepts: Callable[[str], bool]
    open: Callable[[str, Wishes], Dataset]


def open_dataset(
    name: str | Path = "fashion-mnist",
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    labels: bool = True,
    follow_links: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Training and held-out images.

    Args:
        name: `fashion-mnist`, the path of a folder of images, or of a `.npy` or `.npz` file. A
            folder that is itself called `fashion-mnist` is meant by `./fashion-mnist`.
        size: height and width to scale (until covered) and crop (at the centre) to.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA) to convert to.
        labels: whether to keep the classes of the images.
        follow_links: whether links that leave a folder are followed, and not left aside.
        on_progress: called while downloading or decoding with what, how much, of how much.

    Raises:
        LoangError: there is no such data set, it cannot be read, or not be brought to that shape.
    """
    name = str(name)
    if size is not None and min(size) < 1:
        raise LoangError(
            f"Images cannot be {size[0]} pixels high and {size[1]} wide.",
            "Give --size numbers of at least 1.",
        )
    try:
        source = next((source for source in SOURCES if name and source.accepts(name)), None)
    except (OSError, ValueError) as error:
        # A name too long or with a zero in it, a folder on the way that may not be entered.
        reason = error.strerror if isinstance(error, OSError) else None
        raise LoangError(
            f"{shown(name)} cannot be looked at: {reason or error}.", f"Name {KINDS}."
        ) from error
    if source is None:
        raise _unknown(name)
    dataset = source.open(name, Wishes(size, channels, follow_links, on_progress))
    _check(dataset, size, channels, labels)

    def bring(images: Images) -> Images:
        from loang.data.resize import convert_channels, resize

        if channels is not None:
            images = convert_channels(images, channels)
        if size is not None:
            images = resize(images, *size)
        if not labels:
            images = replace(images, labels=None, spec=replace(images.spec, class_names=()))
        return images

    changed = dataset.map(bring)
    if changed.spec == dataset.spec:
        return dataset
    return replace(changed, fingerprint=fingerprint(changed.train, changed.validation))


def _check(dataset: Dataset, size: Size, channels: int | None, labels: bool) -> None:
    """Refuses, before they are made, images that no model file could describe or memory hold."""
    spec = dataset.spec
    height, width = size or (spec.height, spec.width)
    names = spec.class_names if labels else ()
    try:
        wanted = replace(
            spec, height=height, width=width, channels=channels or spec.channels, class_names=names
        )
        wanted.check_size()
    except ValueError as error:
        raise LoangError(
            f"The images of {dataset.name} can't be learned: {error}.",
            "Choose a smaller --size, other names of classes, or --no-labels.",
        ) from error
    if size not in (None, (spec.height, spec.width)):
        shape = (len(dataset.train) + len(dataset.validation), height, width, wanted.channels)
        require_memory(shape, spec.depth, dataset.name)


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~somebody whom this machine does not know
        return Path(name)


def _says_fashion_mnist(name: str) -> bool:
    return name.lower().replace("_", "-") in {"fashion-mnist", "fashionmnist"}


def _is_fashion_mnist(name: str) -> bool:
    from loang.data.fashion_mnist import holds_fashion_mnist

    return _says_fashion_mnist(name) or holds_fashion_mnist(_path(name))


def _open_fashion_mnist(name: str, wishes: Wishes) -> Dataset:
    from loang.data.fashion_mnist import load

    folder = None if _says_fashion_mnist(name) else _path(name)
    return load(folder, on_progress=wishes.on_progress)


def _is_hub(name: str) -> bool:
    return name.startswith("hub:")


def _open_hub(name: str, wishes: Wishes) -> Dataset:
    raise LoangError(
        f"Data sets of the Hugging Face hub, like {name}, cannot be opened yet.",
        "Download the images into a folder and name that.",
    )


def _is_arrays(name: str) -> bool:
    return _path(name).suffix.lower() in {".npy", ".npz"} and _path(name).is_file()


def _open_arrays(name: str, wishes: Wishes) -> Dataset:
    from loang.data.arrays import open_arrays

    return open_arrays(_path(name))


def _is_folder(name: str) -> bool:
    return _path(name).is_dir()


def _open_folder(name: str, wishes: Wishes) -> Dataset:
    from loang.data.folder import open_folder

    return open_folder(
        _path(name),
        size=wishes.size,
        channels=wishes.channels,
        follow_links=wishes.follow_links,
        on_progress=wishes.on_progress,
    )


# Asked in this order.
SOURCES = (
    Source("fashion-mnist", _is_fashion_mnist, _open_fashion_mnist),
    Source("hub:owner/name", _is_hub, _open_hub),
    Source("a .npy or .npz file", _is_arrays, _open_arrays),
    Source("a folder of images", _is_folder, _open_folder),
)


def _unknown(name: str) -> LoangError:
    """What to say of a name that is no data set, with what may have been meant."""
    path = _path(name)
    if path.is_file():
        return LoangError(
            f"{name} is a file of a kind that is not read as a data set.", f"Name {KINDS}."
        )
    try:
        beside = [other.name for other in path.parent.iterdir()]
    except OSError:
        beside = []
    close = [
        *difflib.get_close_matches(name.lower(), ["fashion-mnist"]),
        *(str(path.parent / other) for other in difflib.get_close_matches(path.name, beside)),
    ]
    remedy = f"Did you mean {' or '.join(close)}?" if close else f"Name {KINDS}."
    return LoangError(f"There is no data set, folder or file called {name}.", remedy)
