"""A folder of image files, of any depth, as one data set."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from loang.data.download import Progress
from loang.data.files import describe_leaving, describe_others, find_pictures
from loang.data.fingerprint import fingerprint
from loang.data.images import Dataset, Images
from loang.data.memory import require_memory
from loang.data.picture import Header, Unreadable, read_header, read_picture
from loang.data.resize import convert_pixels, resize_picture
from loang.data.spec import FULL_RANGE, ImageSpec
from loang.data.split import content_digest, split_rows
from loang.data.value_range import integer_range
from loang.data.workers import in_threads
from loang.errors import LoangError

UNREADABLE_SHARE = 0.05
NAMED = 10  # that many unreadable files are called by name
# Subfolders so called are parts of a data set, not classes of images.
PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})


def open_folder(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    follow_links: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Decodes all images of a folder into memory, and holds out about a tenth of them.

    The names of the first level's subfolders are the classes, where there are at least two and
    every image lies in one. Which images are held out follows from each image's own pixels: see
    `split_rows`.

    Args:
        folder: searched at any depth.
        size: height and width that every image is scaled to cover and cropped to; None where
            all images are of one size, which is then kept.
        channels: 1, 3 or 4; None keeps grey where all images are grey, else makes all RGB.
        follow_links: also links that leave the folder.
        on_progress: called with (`images`, how many so far, how many in all).

    Raises:
        LoangError: no folder, no image, more than 5 % unreadable, several sizes and no `size`,
            8 and 16 bits mixed, or more than fits in memory.
    """
    found = find_pictures(folder, follow_links)
    paths = found.pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities that do no harm
        unreadable, headers = _headers(paths)
        _refuse_if_many(unreadable, len(paths), folder)
        spec = _common_spec(list(headers.values()), folder, size, channels)
        shape = (len(headers), spec.height, spec.width, spec.channels)
        require_memory(shape, spec.depth, str(folder))
        pixels, digests, undecodable = _decode(list(headers), spec, size is not None, on_progress)
    unreadable |= undecodable
    _refuse_if_many(unreadable, len(paths), folder)

    read = [path for path in headers if path not in undecodable]
    notices = list[str]()
    if found.others:
        notices.append(f"{describe_others(found.others)} in {folder} were left aside.")
    if found.leaving:
        notices.append(f"In {folder}, {describe_leaving(found.leaving, folder)} were left aside.")
    if unreadable:
        notices.append(f"{_describe(unreadable, len(paths), folder)} were left out.")
    low, high, notice = integer_range(spec.depth, int(pixels.max()))
    notices += [notice] if notice else []
    names, labels, notice = _labels(read, folder)
    notices += [notice] if notice else []
    spec = replace(spec, low=low, high=high, class_names=names)

    train, held_out = split_rows(digests)
    if np.array_equal(train, held_out):
        notices.append("There is only one image, which both trains and validates.")
    # Held-out images are copied out, the others moved up: there is no second copy of everything.
    held_out_pixels = pixels[held_out]
    for place, row in enumerate(train):
        pixels[place] = pixels[row]
    parts = [
        Images(part, spec, None if labels is None else labels[rows])
        for part, rows in ((pixels[: len(train)], train), (held_out_pixels, held_out))
    ]
    return Dataset(str(folder), parts[0], parts[1], fingerprint(*parts), tuple(notices))


def _headers(paths: Sequence[Path]) -> tuple[dict[Path, Unreadable], dict[Path, Header]]:
    def look(path: Path) -> Header | Unreadable:
        try:
            return read_header(path)
        except Unreadable as reason:
            return reason

    seen = dict(zip(paths, in_threads(look, paths), strict=True))
    unreadable = {path: each for path, each in seen.items() if isinstance(each, Unreadable)}
    return unreadable, {path: each for path, each in seen.items() if isinstance(each, Header)}


def _decode(
    paths: Sequence[Path], spec: ImageSpec, fit: bool, on_progress: Progress | None
) -> tuple[Shaped[np.ndarray, "n h w c"], list[bytes], dict[Path, Unreadable]]:
    """All pixels and one digest per image; what cannot be decoded is left out and told."""
    shape = (len(paths), spec.height, spec.width, spec.channels)
    pixels = np.empty(shape, spec.depth)
    low, high = FULL_RANGE[spec.depth]

    def decode(row: int) -> bytes | Unreadable:
        try:
            picture = read_picture(paths[row])
        except Unreadable as reason:
            return reason
        # Of the file's own size and laid on white, so that neither --size nor --channels changes
        # which images are held out.
        digest = content_digest(convert_pixels(picture, min(picture.shape[2], 3), low, high))
        picture = convert_pixels(picture, spec.channels, low, high)
        if fit:
            picture = resize_picture(picture, spec.height, spec.width)
        if picture.shape != shape[1:]:
            return Unreadable("its pixels are not what its header announces")
        pixels[row] = picture
        return digest

    digests = in_threads(decode, range(len(paths)), "images", on_progress)
    good = [row for row, digest in enumerate(digests) if isinstance(digest, bytes)]
    for place, row in enumerate(good):
        if place != row:
            pixels[place] = pixels[row]
    undecodable = {
        path: digest
        for path, digest in zip(paths, digests, strict=True)
        if isinstance(digest, Unreadable)
    }
    return (
        pixels[: len(good)],
        [digest for digest in digests if isinstance(digest, bytes)],
        undecodable,
    )


def _common_spec(
    headers: Sequence[Header], folder: Path, size: tuple[int, int] | None, channels: int | None
) -> ImageSpec:
    """The one shape and depth that all images of the folder get."""
    if channels not in (None, 1, 3, 4):
        raise LoangError(
            f"The images of a folder cannot be given {channels} channels.",
            "Choose --channels 1 (grey), 3 (RGB) or 4 (RGBA).",
        )
    depths = Counter(header.depth for header in headers)
    if len(depths) > 1:
        raise LoangError(
            f"{folder} mixes {depths['uint16']:,} images of 16 bits with {depths['uint8']:,} of 8.",
            "Keep only one kind in the folder, or convert all of them to one depth.",
        )
    sizes = Counter((header.height, header.width) for header in headers)
    if size is None and len(sizes) > 1:
        some = ", ".join(f"{h}x{w} ({count:,})" for (h, w), count in sizes.most_common(3))
        raise LoangError(
            f"The images in {folder} have {len(sizes):,} sizes: {some}"
            f"{' and others' if len(sizes) > 3 else ''} (height x width).",
            "Give one to scale and crop them to, for instance --size 64.",
        )
    height, width = size or next(iter(sizes))
    wanted = channels or max(header.channels for header in headers)
    depth = headers[0].depth
    low, high = FULL_RANGE[depth]
    return ImageSpec(height, width, wanted, "uint16" if depth == "uint16" else "uint8", low, high)


def _labels(
    paths: Sequence[Path], folder: Path
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"] | None, str | None]:
    """Class names, each image's class, and a notice where subfolders are no classes."""
    places = [path.relative_to(folder).parts for path in paths]
    names = sorted({place[0] for place in places if len(place) > 1})
    if len(names) < 2 or any(len(place) == 1 for place in places):
        return (), None, None
    if PARTS.issuperset(name.lower() for name in names):
        notice = (
            f"The subfolders {', '.join(names)} are taken together, and neither as classes nor as "
            "parts: name one of them to use it alone."
        )
        return (), None, notice
    numbers = {name: number for number, name in enumerate(names)}
    return tuple(names), np.array([numbers[place[0]] for place in places], np.int64), None


def _refuse_if_many(unreadable: dict[Path, Unreadable], total: int, folder: Path) -> None:
    if len(unreadable) > UNREADABLE_SHARE * total:
        raise LoangError(
            f"{_describe(unreadable, total, folder)} cannot be used.",
            f"Mend or remove them: up to {UNREADABLE_SHARE:.0%} of a folder may be bad.",
        )


def _describe(unreadable: dict[Path, Unreadable], total: int, folder: Path) -> str:
    named = [
        f"{path.relative_to(folder)} ({unreadable[path]})" for path in list(unreadable)[:NAMED]
    ]
    more = f" and {len(unreadable) - NAMED:,} more" if len(unreadable) > NAMED else ""
    return f"{len(unreadable):,} of the {total:,} image files in {folder}: {', '.join(named)}{more}"
