"""Images that are nearly the same, above all on both sides of the split; and images like no other.

Compared as copies of training images are (`metrics.alignment`): shifts by a pixel, mirroring,
brightness and contrast do not count. That sees no colours: of images in colour these must agree as
well.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from loang.doctor.data_glance import Glance
from loang.doctor.data_images import Numbered
from loang.doctor.data_sight import Marked, Sight, counted, named
from loang.doctor.finding import Finding
from loang.evaluation.words import percent
from loang.metrics.alignment import CANDIDATES, nearest_aligned

SAME = 0.05
"""A distance below it makes a near-copy. Of Fashion-MNIST's sample of 12,000 images 8 are as near
to another, half of which nobody tells apart; JPEG of quality 75, enlarging and reducing, 5 % of
brightness and a pixel's shift leave 95 of 100 copies as near, reducing to three quarters 89."""
TINT, PALE = 0.4, 0.015
"""Colours (`Glance.tint`) agree where their root mean square difference is at most the first share
of the stronger one's own, or the second share of the range. Of clothes in strong, half and pale
colours, on black and on white, the changes above leave 99 of 100 within; another hue by 60 degrees
leaves none of strong and 1 in 100 of half colours. JPEG of strong colours changes brightness too:
then the distance above finds fewer copies, down to a third of pictures of 28 pixels a side."""
MANY = 0.25  # of all images
UNLIKE, BEYOND = 1.0, 3.0  # the distance from all others (a correlation of 0.5), and in medians


@dataclass(frozen=True)
class Nearest:
    """Of each image that was looked at, the most alike of the others.

    Args:
        numbers: of the images, ascending.
        distances: see `metrics.alignment.nearest_aligned`; 0..1.5.
        others: the number of that other image.
        alike: whether the colours of both agree; where no other's of the nearest do, the nearest
            of all is here, and is no copy.
    """

    numbers: Int64[np.ndarray, " n"]
    distances: Float64[np.ndarray, " n"]
    others: Int64[np.ndarray, " n"]
    alike: Bool[np.ndarray, " n"]

    def pairs(self) -> list[tuple[int, int]]:
        """Near-copies, the nearest first, each pair once, the lower number first."""
        near = np.flatnonzero((self.distances < SAME) & self.alike)
        near = near[np.argsort(self.distances[near], kind="stable")]
        found = zip(self.numbers[near].tolist(), self.others[near].tolist(), strict=True)
        return list(dict.fromkeys((min(pair), max(pair)) for pair in found))


def nearest(seen: Glance) -> Nearest:
    """Compare each with each; images of one colour throughout are left aside."""
    at = np.flatnonzero(~seen.constant)
    if len(at) < 2:
        nothing = seen.numbers[:0]
        return Nearest(nothing, np.zeros(0), nothing, np.zeros(0, bool))
    small, tint = seen.small[at], seen.tint[at]
    # Values far from 0 to 1 would leave float32.
    scale = np.abs(small).max() or 1.0
    # The same shape in many colours: the right colour need not be the nearest.
    most = min(CANDIDATES, len(at)) if tint.any() else 2
    distances, found = nearest_aligned(small / scale, small / scale, most)
    rows = np.arange(len(at))
    first = (found[:, 0] == rows).astype(int)  # an equal image may come before
    best, alike = first.copy(), same_colours(tint, tint[found[rows, first]])
    for place in range(most):
        left = ~alike & (found[:, place] != rows) & (distances[:, place] < SAME)
        left[left] = same_colours(tint[left], tint[found[left, place]])
        best[left], alike[left] = place, True
    return Nearest(
        seen.numbers[at], distances[rows, best], seen.numbers[at][found[rows, best]], alike
    )


def same_colours(
    one: Float32[np.ndarray, "n g f 3"], other: Float32[np.ndarray, "n g f 3"]
) -> Bool[np.ndarray, " n"]:
    """Whether colours agree, mirrored or not, each pair of images for itself."""

    def size(tint: Float32[np.ndarray, "n g f 3"]) -> Float32[np.ndarray, " n"]:
        found: np.ndarray = np.sqrt(np.square(tint).mean(axis=(1, 2, 3)))
        return found

    apart = np.minimum(size(one - other), size(one - other[:, :, ::-1]))
    found: np.ndarray = apart <= np.maximum(PALE, TINT * np.maximum(size(one), size(other)))
    return found


def examine(images: Numbered, seen: Glance, found: Nearest, known: Collection[int] = ()) -> Sight:
    """Near-copies, those across the split, and images like no other.

    Args:
        images: all of them.
        seen: what was seen of them.
        found: their nearest.
        known: numbers of images that are known to be odd already.
    """
    pairs = found.pairs()
    across, within = list[tuple[int, int]](), list[tuple[int, int]]()
    for one, other in pairs:
        apart = images.is_held_out(one) != images.is_held_out(other)
        (across if apart else within).append((one, other))
    findings, marked = list[Finding](), list[Marked]()
    copied = len({number for pair in pairs for number in pair})
    share = copied / max(1, len(found.numbers))
    if across:
        findings.append(_across(images, across))
        marked.append(
            Marked("copies across", "To learn from, and held out: nearly the same", across)
        )
    if share > MANY:
        findings.append(
            Finding(
                "warning",
                "alike",
                f"{percent(share)} of the images are nearly the same as another, as frames of one"
                " film are: there is less to learn than their number says.",
                "Keep every tenth frame or so, and hold out whole films: subfolders train and val"
                " say what is held out.",
            )
        )
    elif within:
        findings.append(
            Finding(
                "note" if share < 0.02 else "warning",
                "copies",
                f"{counted(len(within), 'pair')} of images are nearly the same:"
                f" {named(_words(images, within))}.",
                "Keep one of each; what is there twice is learned by heart first.",
            )
        )
    if within:
        marked.append(Marked("copies", "Nearly the same", within))
    odd = [number for number in unlike(found).tolist() if number not in known]
    if odd:
        where = [images.place(number) for number in odd]
        findings.append(
            Finding(
                "note",
                "unlike",
                f"{counted(len(odd))} {'is' if len(odd) == 1 else 'are'} like no other:"
                f" {named(where)}.",
                "Look at them: do they belong here?",
            )
        )
        marked.append(Marked("unlike", "Like no other", [[number] for number in odd]))
    if not pairs and len(found.numbers) > 1:
        findings.append(Finding("good", "copies", "No two images are nearly the same."))
    if not seen.whole:
        findings.append(
            Finding(
                "note",
                "sample",
                f"{len(seen.numbers):,} of the {seen.of:,} images were looked at one by one, evenly"
                " spaced: copies among the others are not known.",
            )
        )
    facts = {
        "compared": len(found.numbers),
        "of": seen.of,
        "threshold": SAME,
        "threshold_of_colours": [TINT, PALE],
        "median_distance": float(np.median(found.distances)) if len(found.distances) else None,
        "pairs": _lists(images, pairs),
        "across": _lists(images, across),
        "unlike": [images.place(number) for number in odd],
    }
    return Sight(tuple(findings), {"copies": facts}, (), tuple(marked))


def unlike(found: Nearest) -> Int64[np.ndarray, " k"]:
    """Numbers of images whose nearest is unusually far, the farthest first.

    Of natural photographs, which are all far from one another, none stands out.
    """
    if len(found.distances) < 20:
        return found.numbers[:0]
    least = max(UNLIKE, BEYOND * float(np.median(found.distances)))
    odd = np.flatnonzero(found.distances > least)
    return found.numbers[odd[np.argsort(-found.distances[odd])]]


def _across(images: Numbered, pairs: Sequence[tuple[int, int]]) -> Finding:
    held = {number for pair in pairs for number in pair if images.is_held_out(number)}
    share = len(held) / max(1, len(images) - images.learned)
    return Finding(
        "warning" if share > 0.01 else "note",
        "copies across",
        f"{counted(len(held))} held out ({percent(share)}) {'is' if len(held) == 1 else 'are'}"
        f" nearly the same as one to learn from: {named(_words(images, pairs))}.",
        "Remove one of each pair: what is measured on images held out is too good else.",
    )


def _words(images: Numbered, pairs: Sequence[tuple[int, int]]) -> list[str]:
    return [f"{images.place(one)} = {images.place(other)}" for one, other in pairs]


def _lists(images: Numbered, pairs: Sequence[tuple[int, int]]) -> list[list[str]]:
    return [[images.place(one), images.place(other)] for one, other in pairs]
