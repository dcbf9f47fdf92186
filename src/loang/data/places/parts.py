"""The parts of a data set by their names, and which images are learned from, held out, or neither.

One rule for subfolders, shards, members of tar files, and columns called `split`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from loang.data.places.names import listed

TO_LEARN = frozenset({"train", "training"})
TO_VALIDATE = frozenset({"val", "valid", "validation", "dev", "eval", "held-out"})
TO_TEST = frozenset({"test", "testing"})
PARTS = TO_LEARN | TO_VALIDATE | TO_TEST
SPLIT_COLUMNS = ("split", "subset", "set", "fold")
"""Columns so called say the part of each image."""


@dataclass(frozen=True)
class Parts:
    """What becomes of images whose parts are known.

    Args:
        kept: which are images of the collection; the others are left aside.
        held_out: which of all are for validation; None where the parts do not say.
        given: whether parts were found, be it only one.
        notices: what a person should know.
    """

    kept: Bool[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"] | None
    given: bool
    notices: tuple[str, ...] = ()


def parts_of(words: Sequence[str], names: Sequence[str], where: str, noun: str = "image") -> Parts:
    """From the names of folders or files, where such a name may also be that of a class.

    They are parts if there is one to learn from and one to hold out, or nothing else at all. Then
    what is in neither is left aside, and so is `test` where there is `val` too.

    Args:
        words: of each image the part, in lower case; an empty text where none is named.
        names: what is told of an image that lies in no part.
        where: what a person calls the place.
        noun: what there is a word of each.
    """
    known = set(words) & PARTS
    both = bool(known & TO_LEARN and known - TO_LEARN)
    if not known or not (both or set(words) <= PARTS):
        return Parts(np.ones(len(words), bool), None, False)
    strays = Counter(n for n, word in zip(names, words, strict=True) if word not in PARTS)
    notices = []
    if strays:
        count = strays.total()
        notices = [
            f"{count:,} {noun}{'s' * (count > 1)} of {where} in no part ({listed(sorted(strays))})"
            f" {'were' if count > 1 else 'was'} left aside."
        ]
    return _sides(words, where, notices)


def parts_of_column(words: Sequence[str], column: str, where: str) -> Parts:
    """From a column that says the part of each image.

    Where it names one to learn from, other words than the known ones, and none, are left aside;
    else they are learned from. Both is told, as such a word may be misspelt.

    Args:
        words: of each image; an empty text where nothing is said.
        column: its name.
        where: what a person calls the file.
    """
    words = [word.strip().casefold() for word in words]
    unknown = Counter(word for word in words if word not in PARTS)
    if len(unknown) == len(set(words)):
        said = [word for word in unknown if word]
        notices = [
            f"The column {listed([column])} of {where} names no part such as train, val or test"
            f" ({listed(said)}): it is not used."
        ]
        everybody = np.ones(len(words), bool)
        return Parts(everybody, None, False, tuple(notices if said else []))
    learns = bool(set(words) & TO_LEARN)
    notices = []
    if unknown and (learns or set(unknown) != {""}):
        count = unknown.total()
        called = listed([word or "nothing" for word in unknown])
        done = "left aside" if learns else "learned from"
        notices = [
            f"The column {listed([column])} of {where} says {called} of {count:,}"
            f" image{'s' * (count > 1)}, which is no part such as train, val or test:"
            f" {'they are' if count > 1 else 'it is'} {done}."
        ]
    if not learns:
        words = [word if word in PARTS else "train" for word in words]
    return _sides(words, where, notices, "put its images into a place of their own")


def left_aside(splits: Sequence[str]) -> frozenset[str]:
    """Parts that are neither trained on nor validate: `test`, where there are both others."""
    known = {split.casefold() for split in splits}
    return TO_TEST if known & TO_VALIDATE and known - TO_VALIDATE - TO_TEST else frozenset()


def aside_notice(name: str, aside: frozenset[str], remedy: str = "name its files alone") -> str:
    """What to say of parts that are left aside, and what makes them a place to measure against."""
    return (
        f"The part {' or '.join(sorted(aside))} of {name} is left aside, as another is for"
        f" validation: {remedy} to evaluate against them."
    )


def is_held_out(split: str) -> bool:
    """Whether a part of that name validates; a part of an unknown name trains."""
    return split.casefold() in TO_VALIDATE | TO_TEST


def held_out_rows(splits: Sequence[str], lengths: Sequence[int]) -> Bool[np.ndarray, " n"] | None:
    """Which images validate, from each shard's part and number of images.

    None where all do or none does, or where only some shards say what they are.
    """
    held = [is_held_out(split) for split in splits]
    if all(held) or not any(held) or "" in splits:
        return None
    return np.repeat(np.array(held), np.asarray(lengths))


def _sides(
    words: Sequence[str],
    where: str,
    notices: Sequence[str],
    remedy: str = "name its files alone",
) -> Parts:
    aside = left_aside([word for word in words if word in PARTS])
    kept = np.array([word in PARTS - aside for word in words], bool)
    held = np.array([is_held_out(word) for word in words], bool) & kept
    there = aside & set(words)
    said = [*notices, aside_notice(where, there, remedy)] if there else notices
    told = held.any() and not np.array_equal(held, kept)
    return Parts(kept, held if told else None, True, tuple(said))
