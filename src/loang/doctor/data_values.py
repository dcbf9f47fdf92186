"""Are the values of images as they should be? Constant, clipped, pressed together, inverted."""

import numpy as np
from jaxtyping import Float64, Int64

from loang.data.value_range import PERCENTILES
from loang.doctor.data_glance import Glance
from loang.doctor.data_images import Numbered
from loang.doctor.data_sight import Marked, Sight, counted, named, places
from loang.doctor.finding import Finding
from loang.evaluation.words import number, percent

PRESSED, LOW = 0.25, 0.5  # shares of the range that are used: a warning, and a note
AT_AN_END = 0.2  # of an image's values; 0 of Fashion-MNIST's 70,000 have so many at the bright end
FEW, MANY = 0.05, 0.25  # of all images: worth a note, and a warning
TWO_VALUED = 0.9
NEAR, FAR = 0.12, 0.5  # of the range: borders alike, and borders on opposite sides
STRAYS = 0.01  # of all images may have borders in between, whatever there is on the other side
ALIKE = 0.5  # a correlation; images of noise have weaker ones with anything
CROWD = 0.55  # of all images must have borders alike before others stand out
COMPARED = 4000
COLOURED, GREY = 0.02, 0.01  # of the range: more is colour; of the images: so few are no matter


def examine(images: Numbered, seen: Glance) -> Sight:
    """What the values say: see the findings' topics."""
    sights = (
        _constant(images, seen),
        _range(images, seen),
        _clipped(images, seen),
        _inverted(images, seen),
        _grey(images, seen),
    )
    return Sight(
        tuple(finding for sight in sights for finding in sight.findings),
        {name: value for sight in sights for name, value in sight.facts.items()},
        (),
        tuple(marked for sight in sights for marked in sight.marked),
        tuple(change for sight in sights for change in sight.changes),
    )


def _constant(images: Numbered, seen: Glance) -> Sight:
    at = np.flatnonzero(seen.constant)
    if not len(at):
        return Sight()
    where = places(images, seen.numbers[at])
    share = len(at) / len(seen.numbers)
    found = Finding(
        "warning" if share > 0.01 else "note",
        "constant",
        f"{counted(len(at))} ({percent(share)}) {_have(len(at))} one colour throughout:"
        f" {named(where)}.",
        "Remove them, unless blank images are to be drawn.",
    )
    marked = Marked("constant", "One colour throughout", [[int(n)] for n in seen.numbers[at]])
    return Sight((found,), {"constant": where}, (), (marked,))


def _range(images: Numbered, seen: Glance) -> Sight:
    """How much of the range between -1 and 1 is used."""
    spec = images.spec
    low, high = (float(end) for end in np.percentile(seen.values, PERCENTILES))
    rule = "percentiles"
    if high <= low:  # nearly all values are the same: what matters lies beyond the percentiles
        rule, low, high = "data", float(seen.lowest.min()), float(seen.highest.max())
    used = (min(high, spec.high) - max(low, spec.low)) / (spec.high - spec.low)
    facts = {
        "lowest": float(seen.lowest.min()),
        "highest": float(seen.highest.max()),
        "percentiles": {str(p): end for p, end in zip(PERCENTILES, (low, high), strict=True)},
        "range": [spec.low, spec.high],
        "used": used,
    }
    if used >= LOW or high <= low:
        return Sight((), {"values": facts})
    found = Finding(
        "warning" if used < PRESSED else "note",
        "contrast",
        f"The images use {percent(used)} of their range: nearly all values lie between"
        f" {number(low)} and {number(high)} (the {PERCENTILES[0]}th and {PERCENTILES[1]}th"
        f" percentile), and {spec.low:g} to {spec.high:g} is shown to the network as -1 to 1."
        " Contrast so low is learned badly.",
        f"Train with --set data.range={rule}, which makes {number(low)} to {number(high)} the"
        " range; samples have the same values as the images then.",
    )
    changes = (f"data.range={rule}",) if used < PRESSED else ()
    return Sight((found,), {"values": facts}, (), (), changes)


def _clipped(images: Numbered, seen: Glance) -> Sight:
    """Values that lie exactly at an end of the range; a background there is as it should be."""
    behind_low = float(np.mean(seen.border <= 0)) > 0.5
    behind_high = float(np.mean(seen.border >= 1)) > 0.5
    both = seen.at_low + seen.at_high > TWO_VALUED
    if both.mean() > 0.5:
        found = Finding(
            "note",
            "two values",
            f"Nearly all values are the lowest or the highest, in {percent(float(both.mean()))} of"
            " the images: black and white drawings, or a mask.",
            "Nothing need be done; samples have a few greys at edges.",
        )
        return Sight((found,), {"two_valued": float(both.mean())})
    bright = np.zeros(len(seen.numbers), bool) if behind_high else seen.at_high > AT_AN_END
    dark = np.zeros(len(seen.numbers), bool) if behind_low else seen.at_low > AT_AN_END
    clipped = (bright | dark) & ~seen.constant
    share = float(clipped.mean())
    facts = {"clipped_bright": int(bright.sum()), "clipped_dark": int(dark.sum())}
    if share < FEW:
        return Sight((), {"clipping": facts})
    where = places(images, seen.numbers[clipped])
    ends = [word for word, there in (("brightest", bright), ("darkest", dark)) if there.any()]
    found = Finding(
        "warning" if share > MANY else "note",
        "clipped",
        f"{counted(int(clipped.sum()))} ({percent(share)}) have more than {percent(AT_AN_END)} of"
        f" their values at the very {' or '.join(ends)} that there is, as if they were overexposed"
        f" or cut off: {named(where)}.",
        "If they were converted to 8 bits, or their contrast raised, start from the originals.",
    )
    most = np.flatnonzero(clipped)[np.argsort(-(seen.at_high + seen.at_low)[clipped])]
    marked = Marked("clipped", "Clipped values", [[int(n)] for n in seen.numbers[most]])
    return Sight((found,), {"clipping": {**facts, "places": where}}, (), (marked,))


def _inverted(images: Numbered, seen: Glance) -> Sight:
    at = inverted(seen)
    if not len(at):
        return Sight()
    where = places(images, seen.numbers[at])
    side = ("bright", "dark") if np.median(seen.border) < 0.5 else ("dark", "bright")
    found = Finding(
        "warning",
        "inverted",
        f"{counted(len(at))} ({percent(len(at) / len(seen.numbers))}) {_seem(len(at))} inverted:"
        f" {side[0]} at the border where the others are {side[1]}, and more like the others'"
        f" negatives: {named(where)}.",
        "Invert them, if all are meant to be alike; samples will else be of both kinds.",
    )
    marked = Marked("inverted", "Inverted?", [[int(n)] for n in seen.numbers[at]])
    return Sight((found,), {"inverted": where}, (), (marked,))


def _grey(images: Numbered, seen: Glance) -> Sight:
    """Grey images that are stored in colour."""
    coloured = seen.colour > COLOURED
    if images.spec.channels != 3 or coloured.mean() > GREY:
        return Sight()
    where = places(images, seen.numbers[coloured])
    but = f" but {counted(len(where))} ({named(where)})" if where else ""
    found = Finding(
        "note",
        "grey",
        f"All images{but} are grey, though in three channels.",
        "--channels grey makes training a little faster, and samples that are never tinted.",
    )
    return Sight((found,), {"coloured": where})


def inverted(seen: Glance) -> Int64[np.ndarray, " k"]:
    """Positions of images that are as the negatives of the others.

    Their border is on the other side of the range from a crowd of borders that are alike, hardly
    any border lies between, and the correlation with the crowd's image that is least like theirs
    is stronger than that with the most alike.
    """
    varied = ~seen.constant
    apart = np.abs(seen.border - np.median(seen.border[varied]) if varied.any() else seen.border)
    crowd = np.flatnonzero(varied & (apart < NEAR))
    far = np.flatnonzero(varied & (apart > FAR))
    between = varied.sum() - len(crowd) - len(far)
    if (
        len(crowd) < max(10, CROWD * varied.sum())
        or not len(far)
        or between > max(len(far), STRAYS * varied.sum())
    ):
        return far[:0]
    crowd = crowd[:: max(1, len(crowd) // COMPARED)]
    like = _normal(seen, far) @ _normal(seen, crowd).T
    return far[-like.min(axis=1) > np.maximum(like.max(axis=1), ALIKE)]


def _normal(seen: Glance, at: Int64[np.ndarray, " k"]) -> Float64[np.ndarray, "k d"]:
    """Small images of mean 0 and norm 1."""
    flat = seen.small[at].reshape(len(at), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _seem(count: int) -> str:
    return "seems" if count == 1 else "seem"
