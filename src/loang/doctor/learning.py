"""Is it learning, and is it learning by heart? What the errors by noise level say."""

from collections.abc import Sequence

from loang.doctor.finding import Finding, Part, Table
from loang.doctor.levels import LARGEST, Compared, Levels, apart, written
from loang.evaluation.words import number, percent

WORST = 1.1  # times the Gaussian's error, above which the worst level is worth a sentence,
MUCH_WORSE = 2.0  # and above which it harms
ENOUGH = 100  # images, on which a network that has learned anything shows it
GAP, WIDE_GAP = 1.1, 1.4  # held-out error to training error
HEADS = {
    "network": "network",
    "raw": "last step",
    "training": "on training images",
    "gaussian": "Gaussian",
    "plain": "mean and contrast",
}


def examine(levels: Levels, predicts: str) -> Part:
    """What the errors say.

    Args:
        levels: with "network" at least; with "gaussian" and "plain" there is something to compare
            it with, with "training" a gap to measure.
        predicts: what the network answers, as "eps" or "v".
    """
    findings = []
    if "gaussian" in levels.errors:
        findings += _learning(levels, predicts)
    # Of who knows nothing it is no news that they know nothing by heart.
    if "training" in levels.errors and not any(f.verdict == "wrong" for f in findings):
        findings.append(_by_heart(levels))
    return Part(tuple(findings), _facts(levels), (_table(levels),))


def _learning(levels: Levels, predicts: str) -> list[Finding]:
    if (levels.errors["network"] >= LARGEST).any():
        return [
            Finding(
                "wrong",
                "learning",
                "What the network answers is no number, or far beyond any image.",
                "Take an earlier checkpoint, or train again with a lower learning rate.",
            )
        ]
    middle = levels.middle
    to_gaussian, to_plain = (
        levels.compare("network", "gaussian"),
        levels.compare("network", "plain"),
    )
    if not any(each.lower for each in to_plain):
        return [
            Finding(
                "wrong",
                "learning",
                "It has learned nothing: at no noise level does it see more in an image than"
                " somebody who knows the average image and the contrast alone.",
                "Train longer; if the loss does not fall at all, try a learning rate ten times"
                " lower, and one three times higher.",
            )
        ]
    better = [i for i in middle if to_gaussian[i].lower]
    said = [_verdict(levels, better, to_gaussian)]
    worst = max(range(len(to_gaussian)), key=lambda i: to_gaussian[i].ratio)
    if to_gaussian[worst].higher and to_gaussian[worst].ratio > WORST:
        said.append(_worst(levels, worst, to_gaussian[worst], predicts))
    return said


def _verdict(levels: Levels, better: Sequence[int], to_gaussian: Sequence[Compared]) -> Finding:
    middle = levels.middle
    if not better:
        mean = sum(to_gaussian[i].ratio for i in middle) / len(middle)
        images = levels.errors["network"].shape[1]
        if images < ENOUGH and mean < 1:
            return Finding(
                "note",
                "learning",
                f"Its error is {number(mean)} times that of a Gaussian at the levels where shapes"
                f" are decided, which {images:,} images are too few to tell from chance.",
                "Measure it on more of them, with -n 256.",
            )
        return Finding(
            "warning",
            "learning",
            "It knows no more of the images than a Gaussian does, which knows how any two pixels"
            f" go together and nothing else: its error is {number(mean)} times as large at the"
            " levels where shapes are decided.",
            "Train longer; if the loss has long stopped falling, take a larger network or another"
            " learning rate.",
        )
    least = min(better, key=lambda i: to_gaussian[i].ratio)
    lead = (
        f"at best its error is {percent(to_gaussian[least].ratio)} of the Gaussian's, at"
        f" {_level(levels, least)}"
    )
    if len(better) == len(middle):
        return Finding(
            "good",
            "learning",
            f"It is learning: at all {len(middle)} levels where shapes are decided it knows more"
            f" than a Gaussian; {lead}.",
        )
    short = [i for i in middle if i not in better]
    return Finding(
        "note",
        "learning",
        f"It knows more than a Gaussian at {len(better)} of the {len(middle)} levels where shapes"
        f" are decided ({lead}), and not yet at {_places(levels, short)}.",
        "Train longer.",
    )


def _worst(levels: Levels, at: int, compared: Compared, predicts: str) -> Finding:
    what = f"It is worst at {_level(levels, at)}: {compared} times the Gaussian's error."
    if levels.log_snr[at] > 0 and at not in levels.middle:
        verdict = "warning" if compared.ratio > MUCH_WORSE else "note"
        remedy = "Samples may keep a fine grain, which longer training removes."
    elif at not in levels.middle and predicts == "eps":
        verdict = "note"
        remedy = (
            "That is usual for a network that predicts eps, and does little harm;"
            " denoiser.predicts=v avoids it."
        )
    elif at not in levels.middle:
        verdict = "warning" if compared.ratio > MUCH_WORSE else "note"
        remedy = "Shapes and brightness begin there: longer training mends it."
    else:
        verdict = "warning" if compared.ratio > MUCH_WORSE else "note"
        remedy = "Shapes are decided there: train longer, or take a larger network."
    return Finding(verdict, "worst level", what, remedy)  # type: ignore[arg-type]


def _by_heart(levels: Levels) -> Finding:
    gap = apart(levels.errors["network"], levels.errors["training"])
    images = levels.errors["network"].shape[1]
    measured = f"{gap} times that on training images"
    if gap.higher and gap.ratio > GAP:
        return Finding(
            "warning" if gap.ratio > WIDE_GAP else "note",
            "by heart",
            f"It begins to learn images by heart: its error on held-out images is {measured}.",
            "Use more images, or vary them (data.flips=true), or train for less long;"
            " `loang evaluate` looks for copies among the samples.",
        )
    return Finding(
        "good",
        "by heart",
        f"No sign of learning by heart: its error on {images:,} held-out images is {measured}.",
    )


def _facts(levels: Levels) -> dict[str, object]:
    facts = levels.to_dict()
    facts["middle"] = levels.middle if "gaussian" in levels.errors else []
    if "gaussian" in levels.errors:
        for name in ("network", "raw", "plain"):
            if name in levels.errors:
                ratios = levels.compare(name, "gaussian")
                facts[f"{name}_to_gaussian"] = [
                    {"ratio": each.ratio, "error": each.error} for each in ratios
                ]
    if "training" in levels.errors:
        gap = apart(levels.errors["network"], levels.errors["training"])
        facts["held_out_to_training"] = {"ratio": gap.ratio, "error": gap.error}
    return facts


def _table(levels: Levels) -> Table:
    shown = [name for name in HEADS if name in levels.errors]
    means = {name: levels.mean(name) for name in shown}
    ratios = levels.compare("network", "gaussian") if "gaussian" in levels.errors else []
    rows = []
    for i, (t, log_snr) in enumerate(zip(levels.times, levels.log_snr, strict=True)):
        row = [written(t), f"{log_snr:+.1f}", *(number(float(means[name][i])) for name in shown)]
        if ratios:
            row.append(str(ratios[i]))
        rows.append(row)
    return Table(
        "Error by noise level (mean squared error of x_0, images in [-1, 1])",
        [
            "level",
            "log-SNR",
            *(HEADS[name] for name in shown),
            *(["network / Gaussian"] if ratios else []),
        ],
        rows,
        "network: averaged weights, on held-out images, as are the guesses to the right of it."
        if ratios
        else "",
    )


def _level(levels: Levels, i: int) -> str:
    return f"{written(levels.times[i])} (log-SNR {levels.log_snr[i]:+.1f})"


def _places(levels: Levels, short: Sequence[int]) -> str:
    times = (written(levels.times[i]).removeprefix("t = ") for i in short)
    return "t = " + ", ".join(times)
