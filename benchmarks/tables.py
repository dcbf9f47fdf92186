"""The measured tables of the documentation, made of what was measured: docs/measured.

    python benchmarks/tables.py            # write them into the pages
    python benchmarks/tables.py --check    # name each that is not what its data say

A table stands in a page between `<!-- table: NAME -->` and `<!-- end -->`, above a line that says
what it was measured with. Whatever is outside is written by hand. Here each table is a function of
its name: which file, which rows, which columns, and how a number is written.
"""

import argparse
import csv
import json
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
TEACHER = "fashion-mnist-quick"
"""The run in distill.csv whose ways to be sampled are compared; the others are its students."""
Row = dict[str, str]


# Reading what was measured.


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV, as they stand there."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file has."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def one(rows: Iterable[Mapping[str, Any]], **wanted: object) -> Any:
    """The one row that has these values."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows have {wanted} where one should")
    return found[0]


# How it is written.


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    first, *rest = (
        "|".join(f" {cell} " if cell else " " for cell in line) for line in [head, *lines]
    )
    return "\n".join(f"|{line}|" for line in (first, "|".join("---" for _ in head), *rest))


def footer(rows: Sequence[Mapping[str, Any]], *names: str) -> str:
    """Which files of docs/measured the rows are from, what they were measured with, and when."""

    def all_of(*keys: str) -> str:
        found = {str(row[key]).partition("+")[0] for row in rows for key in keys if key in row}
        return " and ".join(sorted(found))

    libraries = ("torch", "onnxruntime", "diffusers", "denoising-diffusion-pytorch", "loang")
    versions = ", ".join(f"{name} {all_of(name)}" for name in libraries if all_of(name))
    links = ", ".join(f"[{name}](measured/{name})" for name in names)
    # The benchmarks call the hardware by three names.
    return f"{links}: {all_of('machine', 'device', 'hardware')}; {versions}; {all_of('date')}."


def number(value: float | str, places: int = 3) -> str:
    """A number with so many places, and a comma at the thousands."""
    return f"{float(value):,.{places}f}"


def with_error(row: Row) -> str:
    """A distance and its error. An error just between two is written as the larger one."""
    error = Decimal(row["error"]).quantize(Decimal("0.001"), ROUND_HALF_UP)
    return f"{number(row['distance'])} ± {error}"


def per_cent(share: str) -> str:
    """A share as 97.2 %."""
    return f"{100 * float(share):.1f} %"


def scale(row: Row) -> str:
    """A scale of guidance: 2.5, or none."""
    return "none" if float(row["guidance"]) == 1 else f"{float(row['guidance']):g}"


def bold(cells: Iterable[str], where: bool = True) -> list[str]:
    """Cells in bold, where they should be."""
    return [f"**{cell}**" if where else cell for cell in cells]


def distance(row: Row) -> float:
    """The distance of a row, to compare rows by."""
    return float(row["distance"])


def by_chance(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two values are apart by no more than the standard error of their difference."""
    return abs(first[0] - second[0]) <= math.hypot(first[1], second[1])


def small(value: float) -> str:
    """A small number as 7.8e-7."""
    return f"{value:.1e}".replace("e-0", "e-") if value else "0"


# The tables of docs/benchmarks.md.

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


LIBRARIES = {
    "loang": "loang",
    "diffusers": "diffusers",
    "diffusers, given": "diffusers, given",
    "ddpm-pytorch": "denoising-diffusion-pytorch",
    "ddpm-pytorch, given": "denoising-diffusion-pytorch, given",
}


def same_network(measured: Path) -> str:
    """A training step in three libraries; bold is where the network is the same function."""
    files = {
        "same-network-small.json": "small: 64, multipliers 1, 2, 2",
        "same-network-cifar10.json": "Ho et al.'s for CIFAR-10",
    }
    found = [read_json(measured / file) for file in files]
    lines = [[name] for name in LIBRARIES.values()]
    for shape in found:
        for line, library in zip(lines, LIBRARIES, strict=True):
            row = shape["rows"][library]
            speed = f"{row['images_a_second']:#.3g}"
            if library != "loang":
                same = row["flop_an_image"] == shape["rows"]["loang"]["flop_an_image"]
                [times] = bold([f"{row['loang_is_faster_by']:.2f}"], same)
                speed += f" ({times})"
            cost, rate = row["flop_an_image"] / 1e9, row["flop_a_second"] / 1e9
            line += [speed, number(cost, 1), number(rate, 0)]
    head = [""]
    for shape_name in files.values():
        head += [shape_name, "GFLOP an image", "GFLOP/s"]
    return grid(head, lines) + "\n\n" + footer([{**it, **it["versions"]} for it in found], *files)


# The tables of docs/distill.md.


def student(measured: Path) -> str:
    """A student of two steps among the ways to sample its teacher, the best last."""
    rows = sorted(read_rows(measured / "distill.csv"), key=distance, reverse=True)
    unguided = [row for row in rows if row["run"] == TEACHER and scale(row) == "none"]
    lines = []
    for row in rows:
        is_student = row["run"] != TEACHER
        model = "student" if is_student else f"teacher, {row['sampler']}".replace("ddim", "DDIM")
        if row is rows[-1]:
            model += ": the best of all that were tried"
        elif row is unguided[-1]:
            model += ": the best of the two without guidance"
        guided, asked = "", row["steps"]
        if scale(row) != "none":
            guided = f"{scale(row)} in {row['interval']}"
            # Inside the interval a step asks twice.
            asked += f" to {2 * int(row['steps'])}"
        cells = bold([model, asked, with_error(row)], is_student)
        lines.append([cells[0], guided, *cells[1:]])
    head = ["Model", "guided", "evaluations", "distance ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "distill.csv")


SETTINGS = (
    *("plain22", "g2-22", "g2-24", "own-g2-24", "own-g3-24", "g3-24", "g3-22-fast", "g4-24-fast"),
    *("gi2-24", "mid1.1-3", "g3-24-fast", "g3-24-long"),
)


def student_settings(measured: Path) -> str:
    """How a student learns leaps; bold is the best of about the teacher's own computing."""
    every = read_rows(measured / "distill-settings.csv")
    rows = [one(every, run=name) for name in SETTINGS]
    # The one row of more images is as if the student had learnt for longer than its teacher.
    best = min((row for row in rows if int(row["trained_images"]) < 25_000), key=distance)
    lines = []
    for row in rows:
        guided = row["teacher_guided"]
        if row["learning_rate"] == "0.001":
            guided += ", twice the rate"
        if row["angle_of_the_second_level"] != "0.785":  # of which noise and signal are equal
            guided += f", level at sigma = {math.tan(float(row['angle_of_the_second_level'])):.2f}"
            guided += " for 1"
        images = number(round(int(row["trained_images"]), -2), 0)
        cells = [guided, row["chain"], row["starts"], number(row["distance"])]
        cells = bold(cells, row is best)
        lines.append([*cells[:3], images, cells[3]])
    head = ["guidance", "chain", "starts", "images", "distance ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "distill-settings.csv")


# The tables of docs/scaling.md.


def processes(measured: Path) -> str:
    """A step by one process and by two that share it, for three widths."""
    rows = [row for row in read_rows(measured / "growth.csv") if row["axis"] == "processes"]
    lines = []
    for width in sorted({row["width"] for row in rows}, key=int):
        alone = one(rows, width=width, processes="1", threads="0")
        narrow = one(rows, width=width, processes="1", threads="1")
        both = one(rows, width=width, processes="2", threads="1")
        parameters = int(both["parameters"])
        # 8 P (N - 1) / N bytes of two processes are 4 P.
        bandwidth = 4 * parameters / (float(both["sum_ms"]) / 1e3)
        times = [alone["step_ms"], narrow["step_ms"], both["step_ms"], both["sum_ms"]]
        lines.append(
            [
                f"{parameters / 1e6:.2g} M",
                *(f"{number(time, 0)} ms" for time in times),
                f"{bandwidth / 1e9:.2f} GB/s",
            ]
        )
    head = [
        *("parameters", "one, two threads", "one, one thread", "two, one thread each"),
        *("of which the sum", "8 P (N - 1) / N bytes at"),
    ]
    return grid(head, lines) + "\n\n" + footer(rows, "growth.csv")


# The tables of docs/neighbours.md.

RUNTIMES = {
    "torch, float32": ("torch, float32", None),
    "torch, bfloat16": ("torch, bfloat16", None),
    "onnxruntime, float32": ("onnxruntime, float32", "float32.onnx"),
    "onnxruntime, float16": ("onnxruntime, float16 file", "float16.onnx"),
    "program, float32": ("torch.export, float32", "float32.pt2"),
}
"""What each way is called, and the file that it runs."""


def onnx_speed(measured: Path) -> str:
    """Passes a second of files that were exported, over torch's own."""
    found = read_json(measured / "onnx-speed.json")
    lines = []
    for way, (name, file) in RUNTIMES.items():
        line = [name]
        for batch in (1, 16):
            row = one(found["speed"], way=way, batch=batch)
            speed = f"1 ({number(row['images_per_second'], 0)} images/s)"
            line.append(speed if way == "torch, float32" else number(row["ratio"], 2))
        line.append(small(one(found["files"], file=file)["difference"]) if file else "")
        lines.append(line)
    table = grid(["", "batch 1", "batch 16", "off by"], lines)
    return table + "\n\n" + footer([found], "onnx-speed.json")


# The pages.

TABLES: dict[str, Callable[[Path], str]] = {
    "recipe": recipe,
    "objectives": objectives,
    "few-steps": few_steps,
    "few-steps-of-others": few_steps_of_others,
    "guidance": guidance,
    "walks": walks,
    "longer-guidance": longer_guidance,
    "guidance-choice": guidance_choice,
    "same-network": same_network,
    "student": student,
    "student-settings": student_settings,
    "processes": processes,
    "onnx-speed": onnx_speed,
}
# A place that is not closed before the next one begins is none.
PLACE = re.compile(r"<!-- table: ([a-z0-9-]+) -->\n((?:(?!<!-- table:).)*?)<!-- end -->", re.DOTALL)


def place(name: str, table: str) -> str:
    """A table between its two comments."""
    return f"<!-- table: {name} -->\n{table}<!-- end -->"


def make(measured: Path) -> tuple[dict[str, str], list[str]]:
    """Each table that the data give, and what is wrong with the others."""
    made, wrong = {}, []
    for name, table in TABLES.items():
        try:
            made[name] = f"\n{table(measured)}\n\n"
        except FileNotFoundError as error:
            wrong.append(f"Table {name}: {Path(error.filename).name} is missing in {measured}.")
        except (LookupError, ValueError, ArithmeticError) as error:
            wrong.append(f"Table {name} can't be made of its data: {error}.")
    return made, wrong


def fill(docs: Path, check: bool) -> list[str]:
    """Write the tables into the pages, or compare them only. What is wrong, in sentences."""
    made, wrong = make(docs / "measured")
    found = set()
    for page in sorted(docs.glob("*.md")):
        old = text = page.read_text(encoding="utf-8")
        for name, table in PLACE.findall(old):
            found.add(name)
            if name not in TABLES:
                wrong.append(f"{page.name}: no table is called {name}.")
            elif name in made and table != made[name]:
                text = text.replace(place(name, table), place(name, made[name]))
                if check:
                    wrong.append(f"{page.name}: table {name} is not what its data say.")
        if text != old and not check:
            page.write_text(text, encoding="utf-8")
    for name in TABLES.keys() - found:
        wrong.append(f"Table {name}: no page has <!-- table: {name} --> and <!-- end --> for it.")
    return sorted(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it differs")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the pages, with their measured/")
    arguments = parser.parse_args()
    wrong = fill(arguments.docs, arguments.check)
    print("\n".join(wrong) or f"{len(TABLES)} tables are what their data say.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
