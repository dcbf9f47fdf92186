"""The measured tables of docs/benchmarks.md: each a function of its name."""

import statistics
from pathlib import Path

from cells import (
    Row,
    bold,
    by_chance,
    distance,
    footer,
    grid,
    number,
    one,
    per_cent,
    read_json,
    read_rows,
    scale,
    with_error,
)

TEACHER = "fashion-mnist-quick"
"""The run in distill.csv whose ways to be sampled are compared; the others are its students."""

RECIPES = {
    "before": "before: width 48, groups of 4 channels",
    "groups of 16": "**groups of 16**",  # the one that was taken
    "width 32": "these, and width 32",
    "no attention but in the middle": "these, and no attention but in the middle",
    "rate 2e-3": "these, and a learning rate of 0.002",
    "width 64": "these, and width 64",
}


def recipe(measured: Path) -> str:
    """What `quick` learns by, changed in one thing after another."""
    every = read_rows(measured / "recipe.csv")
    rows = [one(every, recipe=name) for name in RECIPES]
    lines = [
        [
            RECIPES[row["recipe"]],
            number(row["budget"].removesuffix(" images"), 0),
            number(row["distance"]),
            number(row["guided"]),
        ]
        for row in rows
    ]
    head = ["", "images", "distance ↓", "guided ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "recipe.csv")


def recipe_float32(measured: Path) -> str:
    """The width of `quick` where there is no bfloat16, by what each makes in the same time."""
    widths = {"groups of 16": "48, as `quick`", "width 32": "32", "width 24": "24"}
    of_five = {"groups of 16": 26_400, "width 32": 42_200, "width 24": 55_000}
    every = read_rows(measured / "recipe-float32.csv")
    rows = [(widths[row["recipe"]], row) for row in every]
    lines = [
        [
            f"{5 * int(row['trained_images']) / of_five[row['recipe']]:.0f}",
            name,
            number(row["trained_images"], 0),
            f"{number(row['distance'])} ± {number(row['distance_error'])}",
            f"{number(row['guided'])} ± {number(row['guided_error'])}",
        ]
        for name, row in rows
    ]
    head = ["minutes", "width", "images", "distance ↓", "guided ↓"]
    return grid(head, lines) + "\n\n" + footer([row for _, row in rows], "recipe-float32.csv")


def recipe_muon(measured: Path) -> str:
    """The optimizers after the images that each makes in the same time, without bfloat16."""
    minutes = {"24200": 5, "26400": 5, "96300": 20, "105000": 20, "145000": 30, "158000": 30}
    return _by_minutes(measured, "recipe-muon.csv", minutes)


def recipe_muon_bfloat16(measured: Path) -> str:
    """The same in bfloat16, and a narrower network."""
    minutes = {"60000": 5, "72000": 5, "400000": 30, "480000": 30, "540000": 30}
    return _by_minutes(measured, "recipe-muon-bfloat16.csv", minutes)


OPTIMIZERS = {"groups of 16": "AdamW", "muon": "**Muon**", "width 32": "Muon, width 32"}


def _by_minutes(measured: Path, file: str, minutes: dict[str, int]) -> str:
    """Budgets of images, by the minutes in which they are made."""
    rows = read_rows(measured / file)
    rows.sort(key=lambda row: minutes[row["budget"].split()[0]])
    lines = [
        [
            str(minutes[row["budget"].split()[0]]),
            row["train_seed"],
            OPTIMIZERS[row["recipe"]],
            number(row["trained_images"], 0),
            f"{number(row['distance'])} ± {number(row['distance_error'])}",
            f"{number(row['guided'])} ± {number(row['guided_error'])}",
            number(row["trained_validation_loss"], 4),
        ]
        for row in rows
    ]
    head = ["minutes", "seed", "", "images", "distance ↓", "guided ↓", "validation loss"]
    return grid(head, lines) + "\n\n" + footer(rows, file)


REST = {
    "groups of 16": "`quick` by AdamW",
    "muon": "kernels moved by Muon",
    "average over less": "average over 0.05 of the run, not 0.06",
    "average over more": "average over 0.15",
    "rate falls from the start": "learning rate falls from the start, not from 0.3",
    "rate falls from 0.6": "learning rate falls from 0.6",
    "batch 8": "batch 8",
    "batch 32": "batch 32",
    "batch 32, rate 2e-3": "batch 32 and a learning rate of 0.002",
}


MUON_REST = {
    "muon": "**width 48 and batch 16: `quick`**",
    "width 32": "width 32",
    "width 24": "width 24",
    "batch 32, rate 2e-3": "batch 32 and a learning rate of 0.002",
}


def recipe_rest(measured: Path) -> str:
    """What else `quick` could learn by, where there is no bfloat16."""
    return _after_five_minutes(measured, "recipe-rest.csv", REST)


def recipe_muon_rest(measured: Path) -> str:
    """The same of widths and batches, by Muon."""
    return _after_five_minutes(measured, "recipe-muon-rest.csv", MUON_REST)


def _after_five_minutes(measured: Path, file: str, names: dict[str, str]) -> str:
    """Recipes, in the order of their names."""
    every = read_rows(measured / file)
    rows = [one(every, recipe=name) for name in names]
    lines = [
        [
            names[row["recipe"]],
            number(row["trained_images"], 0),
            f"{number(row['distance'])} ± {number(row['distance_error'])}",
            f"{number(row['guided'])} ± {number(row['guided_error'])}",
        ]
        for row in rows
    ]
    head = ["", "images", "distance ↓", "guided ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, file)


OBJECTIVES = {
    "v": "v, uniform times: `quick` until then",
    "eps": "eps",
    "x0": "x0",
    "v, min-snr": "v, min-SNR",
    "v, p2": "v, P2",
    "v, stratified": "v, stratified",
    "v, immiscible": "v, immiscible",
    "v, logit-normal": "v on cosine, logit-normal times",
    "v, importance": "v, importance",
    "v, self-conditioned": "v, self-conditioned",
    "eps, learned variance": "eps, learned variance",
    "edm": "EDM",
    "edm, learned weight": "EDM, learned weight",
    "flow": "flow, uniform times",
    "flow, logit-normal": "flow, logit-normal times",
    "flow, logit-normal, stratified": "flow, logit-normal times, stratified",
}


def objectives(measured: Path) -> str:
    """Means over the seeds, the best first; bold are those that may be the best."""
    rows = read_rows(measured / "objectives.csv")
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["objective"], []).append(row)

    def mean(name: str, key: str = "distance") -> float:
        return statistics.mean(float(row[key]) for row in found[name])

    def seen(name: str) -> tuple[float, float]:
        seeds = [distance(row) for row in found[name]]
        return mean(name), statistics.stdev(seeds) / len(seeds) ** 0.5

    names = sorted(found, key=mean)
    lines = [
        [
            *bold(
                [OBJECTIVES[name], " ± ".join(map(number, seen(name)))],
                by_chance(seen(name), seen(names[0])),
            ),
            number(mean(name, "ddim")),
            number(mean(name, "ddpm")),
            number(mean(name, "trained_images"), 0),
        ]
        for name in names
    ]
    head = ["objective", "distance ↓", "DDIM", "ancestral", "images"]
    return grid(head, lines) + "\n\n" + footer(rows, "objectives.csv")


def counts(rows: list[Row]) -> list[str]:
    """The numbers of evaluations that were measured, the fewest first."""
    return sorted({row["evaluations"] for row in rows}, key=int)


def by_evaluations(rows: list[Row], names: dict[str, str], places: int) -> list[list[str]]:
    """A line a sampler, a column a number of evaluations, whose best is bold."""
    rows = [row for row in rows if row["sampler"] in names]
    lines = [[name] for name in names.values()]
    for count in counts(rows):
        column = [one(rows, sampler=name, evaluations=count) for name in names]
        best = min(map(distance, column))
        for line, row in zip(lines, column, strict=True):
            line += bold([number(row["distance"], places)], distance(row) == best)
    return lines


# On a flow euler is ddim, and euler-ancestral is ddpm.
SAMPLERS = {
    "ddpm": "ddpm, euler-ancestral",
    "dpmpp-2m-sde": "dpmpp-2m-sde",
    "ddim": "ddim, euler",
    **{name: name for name in ("heun", "dpmpp-2m", "dpmpp-3m", "unipc", "deis", "ipndm")},
}


def few_steps(measured: Path) -> str:
    """Samplers on the flow of `quick`."""
    rows = read_rows(measured / "samplers-flow.csv")
    table = grid(["evaluations", *counts(rows)], by_evaluations(rows, SAMPLERS, 3))
    return table + "\n\n" + footer(rows, "samplers-flow.csv")


def few_steps_of_others(measured: Path) -> str:
    """Samplers on other kinds of model."""
    models = {
        "samplers-discrete.csv": "v, cosine, logit-normal times",
        "samplers-edm.csv": "EDM, learned weight; Karras levels",
    }
    names = {name: name for name in ("dpmpp-2m-sde", "ddpm", "ddim", "dpmpp-2m", "unipc")}
    every: list[Row] = []
    lines: list[list[str]] = []
    for file, model in models.items():
        rows = read_rows(measured / file)
        for line in by_evaluations(rows, names, 2):
            lines.append([model, *line])
            model = ""  # said once
        every += rows
    head = ["model", "sampler", *counts(every)]
    return grid(head, lines) + "\n\n" + footer(every, *models)


def guidance(measured: Path) -> str:
    """Bold are the least distances, over all levels and within, and the best agreement of these."""
    scales = {
        "all": ("0.0", "1.0", "1.25", "1.5", "2.0", "2.5", "3.0", "4.0"),
        "0.2:5": ("1.5", "2.0", "2.5", "3.0", "4.0"),
    }
    every = read_rows(measured / "guidance.csv")
    rows: list[Row] = []
    lines = []
    for interval, values in scales.items():
        part = [one(every, interval=interval, guidance=value) for value in values]
        least = [row for row in part if distance(row) == min(map(distance, part))]
        surest = max(float(row["agreement"]) for row in least)
        for row in part:
            unguided = scale(row) == "none"
            way = ["1: none", ""] if unguided else bold([scale(row), interval], row in least)
            agrees = row in least and float(row["agreement"]) == surest
            lines.append(
                [
                    *way,
                    *bold([per_cent(row["agreement"])], agrees),
                    *bold([number(row["distance"])], row in least),
                    number(row["precision"], 2),
                    number(row["recall"], 2),
                ]
            )
        rows += part
    head = ["scale", "levels", "agreement", "distance ↓", "precision", "recall"]
    return grid(head, lines) + "\n\n" + footer(rows, "guidance.csv")


def walks(measured: Path) -> str:
    """Ways to sample the run of the README, the best first."""
    rows = [
        row
        for row in read_rows(measured / "distill.csv")
        if row["run"] == TEACHER and (scale(row) == "none" or row["interval"] == "0.2:5")
    ]
    rows.sort(key=distance)
    lines = []
    for row in rows:
        first = row is rows[0]
        before = row["sampler"] == "ddpm" and scale(row) == "none"
        note = " (what it was sampled by until then)" if before else ""
        lines.append(
            [
                *bold([row["sampler"] + note], first),
                row["steps"],
                scale(row),
                *bold([with_error(row)], first),
            ]
        )
    head = ["sampler", "steps", "guidance in 0.2:5", "distance ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "distill.csv")


def longer_guidance(measured: Path) -> str:
    """The shipped model by guidance; bold are the fewest steps that may be the best."""
    rows = read_rows(measured / "shipped.csv")
    rows.sort(key=lambda row: (float(row["guidance"]), int(row["steps"])))

    def seen(row: Row) -> tuple[float, float]:
        return distance(row), float(row["error"])

    best = min(rows, key=distance)
    level = [row for row in rows if by_chance(seen(row), seen(best))]
    quickest = min(level, key=lambda row: int(row["steps"]))
    lines = [
        bold([f"{row['steps']} steps", scale(row), with_error(row)], row is quickest)
        for row in rows
    ]
    head = ["dpmpp-2m", "guidance in 0.2:5", "distance ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "shipped.csv")


def guidance_choice(measured: Path) -> str:
    """Which scales a run takes by so many samples, of each model by several seeds."""
    rows = read_rows(measured / "guidance-choice.csv")
    lines = []
    for images, samples in dict.fromkeys((row["trained_images"], row["samples"]) for row in rows):
        same = [r for r in rows if (r["trained_images"], r["samples"]) == (images, samples)]
        taken = ", ".join(row["best"] for row in same)
        seconds = statistics.median(float(row["seconds"]) for row in same)
        lines.append([number(images, 0), number(samples, 0), taken, number(seconds, 0)])
    head = ["images of training", "samples a scale", "taken, by seeds 0, 1, 2", "seconds"]
    return grid(head, lines) + "\n\n" + footer(rows, "guidance-choice.csv")


def kept_memory(measured: Path) -> str:
    """Steps and walks of a process that keeps its memory, and of one that does not."""
    found = read_json(measured / "kept-memory.json")
    lines = [
        [
            name,
            number(row["milliseconds_left"], 0),
            f"{number(row['milliseconds_kept'], 0)} (**{row['faster_by']:.2f}**)",
            number(row["pages_left"], 0),
            number(row["pages_kept"], 0),
        ]
        for name, row in found["rows"].items()
    ]
    head = ["", "ms", "ms, memory kept", "pages handed out", "pages, kept"]
    return grid(head, lines) + "\n\n" + footer([{**found, **found["versions"]}], "kept-memory.json")


def ceiling(measured: Path) -> str:
    """Where a step of the article's network takes its time, and what it could come to at most."""
    found = read_json(measured / "ceiling.json")
    lines = [
        [
            name,
            number(row["milliseconds"], 0),
            per_cent(row["share_of_the_step"]),
            per_cent(row["share_of_the_peak"]) if row["share_of_the_peak"] else "",
        ]
        for name, row in found["rows"].items()
    ]
    for name, share in (
        ("all of it", found["share"]),
        ("if convolutions and products were all of it", found["share_without_all_else"]),
    ):
        taken = found["milliseconds"] * found["share"] / share
        lines.append([f"**{name}**", number(taken, 0), "", f"**{per_cent(share)}**"])
    head = ["", "ms", "of the step", "of the convolution's peak"]
    return grid(head, lines) + "\n\n" + footer([{**found, **found["versions"]}], "ceiling.json")
