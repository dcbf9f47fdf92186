"""The kinds of places that images come from, and which one a name means."""

import difflib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

from loang.data.collection import Collection
from loang.data.images import Dataset
from loang.data.places.files import holds_pictures
from loang.data.places.shards import path_of
from loang.data.wishes import Wishes
from loang.errors import LoangError
from loang.untrusted import shown

ENTRY_POINTS = "loang.sources"
"""Another package offers a source by an entry point of this group that names a `Source`."""
LABELS_FILE = "labels_file"
NO_LABELS = (LABELS_FILE, "label_column", "image_column")
"""Wishes that mean nothing where labels are at a place of their own, or there are none."""
KINDS = "fashion-mnist, a folder of images, or a file of them (docs/data.md lists all kinds)"


@dataclass(frozen=True)
class Source:
    """One kind of place that images come from.

    Args:
        name: what it is called in messages.
        accepts: whether a name that a person gave is of this kind; cheap, and without a network.
        open: the images of that name, not read yet; or a whole data set.
        unused: wishes that it has no use for; to have one is told as a mistake.
    """

    name: str
    accepts: Callable[[str], bool]
    open: Callable[[str, Wishes], Collection | Dataset]
    unused: tuple[str, ...] = ()

    def require_used(self, name: str, wishes: Wishes) -> None:
        """Whether all that is wished for means something here.

        Args:
            name: that a person gave.

        Raises:
            LoangError: it does not.
        """
        wish = next((wish for wish in self.unused if getattr(wishes, wish) is not None), None)
        if wish is None:
            return
        what = "file of labels" if wish == LABELS_FILE else f"{wish.removesuffix('_column')} column"
        raise LoangError(
            f"{shown(name)} is read as {self.name}, for which a {what} means nothing.",
            f"Leave out {'--labels-file' if wish == LABELS_FILE else f'data.{wish}'}.",
        )


def source_of(name: str) -> Source:
    """The first source that knows the name; those of other packages are asked last.

    Raises:
        LoangError: there is none.
    """
    try:
        for source in itertools.chain(SOURCES, _of_others()):
            if name and source.accepts(name):
                return source
    except (OSError, ValueError) as error:
        # A name too long or with a zero in it, a folder on the way that may not be entered.
        reason = error.strerror if isinstance(error, OSError) else None
        raise LoangError(
            f"{shown(name)} cannot be looked at: {reason or error}.", f"Name {KINDS}."
        ) from error
    raise _unknown(name)


def _of_others() -> Iterator[Source]:
    for point in entry_points(group=ENTRY_POINTS):
        try:
            source = point.load()
        except Exception as error:  # whatever another package does when it is imported
            raise LoangError(
                f"The source {point.name} of another package can't be used: {error}.",
                f"Mend or remove the package that {point.value} is of.",
            ) from error
        yield source


def _says_fashion_mnist(name: str) -> bool:
    return name.lower().replace("_", "-") in {"fashion-mnist", "fashionmnist"}


def _is_fashion_mnist(name: str) -> bool:
    from loang.data.places.fashion_mnist import holds_fashion_mnist

    return _says_fashion_mnist(name) or holds_fashion_mnist(path_of(name))


def _open_fashion_mnist(name: str, wishes: Wishes) -> Collection | Dataset:
    from loang.data.places.fashion_mnist import NotFashionMnist, load
    from loang.data.places.idx_collection import open_idx

    if _says_fashion_mnist(name):
        return load(on_progress=wishes.on_progress)
    try:
        return load(path_of(name))
    except NotFashionMnist:  # MNIST, for one
        return open_idx(name, wishes)


def _is_arrays(name: str) -> bool:
    return path_of(name).suffix.lower() in {".npy", ".npz"} and path_of(name).is_file()


def _open_arrays(name: str, wishes: Wishes) -> Collection:
    from loang.data.places.arrays import ArrayCollection

    return ArrayCollection(path_of(name))


def _is_folder(name: str) -> bool:
    return path_of(name).is_dir()


def _open_folder(name: str, wishes: Wishes) -> Collection:
    from loang.data.places.folder import FolderCollection

    return FolderCollection(path_of(name), wishes)


def _elsewhere(
    name: str, module: str, noun: str, unused: tuple[str, ...] = (LABELS_FILE,)
) -> Source:
    """A source in a module of its own, which is imported when it is asked for.

    Its `is_NOUN(name)` and `open_NOUN(name, wishes)` are a `Source`'s. A folder that has pictures
    of its own is one of these, whatever archives lie beside them.
    """

    def accepts(name: str) -> bool:
        known = getattr(import_module(f"loang.data.places.{module}"), f"is_{noun}")(name)
        path = path_of(name)
        return bool(known) and not (path.is_dir() and holds_pictures(path))

    def open_(name: str, wishes: Wishes) -> Collection | Dataset:
        opened: Collection | Dataset = getattr(
            import_module(f"loang.data.places.{module}"), f"open_{noun}"
        )(name, wishes)
        return opened

    return Source(name, accepts, open_, unused)


# Asked in this order.
SOURCES = (
    Source("fashion-mnist", _is_fashion_mnist, _open_fashion_mnist, NO_LABELS),
    _elsewhere("a Dataset of Python", "given", "given", NO_LABELS),
    _elsewhere("a data set of the hub", "hub", "hub"),
    Source("a .npy or .npz file", _is_arrays, _open_arrays, NO_LABELS),
    _elsewhere("a Parquet file, or a folder of them", "parquet", "parquet"),
    _elsewhere("an Arrow file, or a folder of them", "arrow", "arrow"),
    _elsewhere("a tar file of images, or a folder of them", "tar", "tar"),
    _elsewhere("an IDX file, or a folder of them", "idx_collection", "idx", NO_LABELS),
    Source("a folder of images", _is_folder, _open_folder),
)


def _unknown(name: str) -> LoangError:
    """What to say of a name that is no data set, with what may have been meant."""
    path = path_of(name)
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
