"""The measured tables of the other pages: each a function of its name."""

import math
from pathlib import Path

from benchmark_tables import TEACHER
from cells import (
    bold,
    distance,
    footer,
    grid,
    number,
    one,
    read_json,
    read_rows,
    scale,
    small,
    with_error,
)

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


def pair(measured: Path) -> str:
    """A student and its teacher by many samples, each guided as it is, the best last."""
    return _beside_its_teacher(measured, "distill-pair.csv", {})


def pair_muon(measured: Path) -> str:
    """The same of a teacher that was moved by Muon, and of a student that was too."""
    names = {"student-muon": "student, moved by Muon too"}
    return _beside_its_teacher(measured, "distill-pair-muon.csv", names)


def _beside_its_teacher(measured: Path, file: str, names: dict[str, str]) -> str:
    """Students, by their runs' names where they have others, and the ways of their teacher."""
    rows = sorted(read_rows(measured / file), key=distance, reverse=True)
    lines = []
    for row in rows:
        is_student = row["sampler"] == "ddim"
        is_one = is_student and row["run"] not in names
        way = f"teacher, {row['sampler']}, {row['steps']} steps"
        model = names.get(row["run"], "student") if is_student else way
        guided = f"{scale(row)} in {row['interval']}" if float(row["guidance"]) != 1 else ""
        lines.append([bold([model], is_one)[0], guided, bold([with_error(row)], is_one)[0]])
    return grid(["Model", "guided", "distance ↓"], lines) + "\n\n" + footer(rows, file)


def strengths(measured: Path) -> str:
    """A student's samples by the strength of its labels, and how often a run would take each."""
    rows = read_rows(measured / "label-strengths.csv")
    taken = read_rows(measured / "label-strengths-taken.csv")
    counts = sorted({int(row["samples"]) for row in taken})
    best = min(rows, key=distance)
    lines = []
    for row in rows:
        by = [[r["taken"] for r in taken if int(r["samples"]) == count] for count in counts]
        times = [f"{found.count(row['strength'])} of {len(found)}" for found in by]
        lines.append([*bold([row["strength"], with_error(row)], row is best), *times])
    head = ["strength", "distance ↓", *(f"taken by {count} samples" for count in counts)]
    files = "label-strengths.csv", "label-strengths-taken.csv"
    return grid(head, lines) + "\n\n" + footer([*rows, *taken], *files)


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


def gradient_sum(measured: Path) -> str:
    """A step of two processes, by how many gradients are sent at once, to one that sends all."""
    rows = read_rows(measured / "gradient-sum.csv")
    lines = []
    for link, width in dict.fromkeys((row["link"], row["width"]) for row in rows):
        of = {row["at_once"]: row for row in rows if (row["link"], row["width"]) == (link, width)}
        lines.append(
            [
                link,
                f"{int(of['all']['parameters']) / 1e6:.2g} M",
                f"{number(of['all']['step_ms'], 0)} ms",
                *(number(of[size]["to_all"], 2) for size in ("2^22", "2^20", "2^18")),
            ]
        )
    head = ["link", "parameters", "all at the end", "by 4 million", "**by 1 million**", "by 0.26"]
    return grid(head, lines) + "\n\n" + footer(rows, "gradient-sum.csv")


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


# The tables of docs/going-on.md.


def start_from(measured: Path) -> str:
    """Few images of a new kind, from fresh weights and from another model's."""
    rows = read_rows(measured / "start-from.csv")
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        cells = found.setdefault((row["budget"], row["rate"]), {})
        cells[row["start"]] = f"{number(row['distance'])} ± {number(row['error'])}"
    lines = [
        [
            number(budget.removesuffix(" images"), 0),
            rate,
            each["fresh weights"],
            bold([each["another model"]])[0],
        ]
        for (budget, rate), each in found.items()
    ]
    head = ["images seen", "learning rate", "fresh weights ↓", "those of another model ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "start-from.csv")


def longer(measured: Path) -> str:
    """A run that went on for longer, beside one that had all of it at first."""
    rows = read_rows(measured / "longer.csv")
    lines = [
        [
            row["run"],
            number(row["images"], 0),
            f"{number(row['distance'])} ± {number(row['distance_error'])}",
            f"{number(row['guided'])} ± {number(row['guided_error'])}",
            number(row["trained_validation_loss"], 4),
        ]
        for row in rows
    ]
    head = ["", "images", "distance ↓", "guided ↓", "validation loss ↓"]
    return grid(head, lines) + "\n\n" + footer(rows, "longer.csv")
