"""The measured tables of docs/benchmarks.md in which others stand: each a function of its name."""

from pathlib import Path

from cells import (
    bold,
    footer,
    grid,
    number,
    per_cent,
    read_json,
    read_rows,
)

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


TRAINERS = {
    "article": "the article's code, TensorFlow",
    "torch": "plain torch, float32",
    "loang": "loang, `tutorial`",
}
DRAWERS = {
    "article": "the article's loop, TensorFlow",
    "article, one": "the same, one at a time as it stands",
    "same network": "the same network in loang, {sampler}",
    "quick": "`quick`, {sampler}, guided",
    "student": "a student of `quick`",
}


def article_speed(measured: Path) -> str:
    """Training and drawing by the article's own code and by loang, a table each."""
    found = read_json(measured / "article-speed.json")
    rounds = f"medians of {found['rounds']}"
    trained, drawn = found["rows"]["training"], found["rows"]["sampling"]
    training = grid(
        [
            f"a step of {found['batch']} images, {rounds}",
            *("images/s", "loang is faster by", "GFLOP/s"),
            f"of a convolution's peak in {found['precision']}",
        ],
        [
            [
                label,
                f"{row['images_a_second']:#.3g}",
                "" if name == "loang" else f"**{row['loang_is_faster_by']:.2f}**",
                number(row["flop_a_second"] / 1e9, 0),
                per_cent(row["share_of_convolution_peak"]),
            ]
            for name, label in TRAINERS.items()
            for row in [trained[name]]
        ],
    )
    lines = []
    for name, label in DRAWERS.items():
        if name not in drawn:  # without --student
            continue
        row = drawn[name]
        times = float(f"{row['times_the_article']:.3g}")  # three digits say enough
        lines.append(
            [
                label.format(**row),
                str(row["at_once"]),
                f"{row['evaluations_an_image']:g} ({row['fewer_evaluations']:.1f})",
                f"{1e3 * row['seconds_an_evaluation']:.3g} ({row['faster_evaluations']:.2f})",
                f"{row['images_a_second']:.3g} (**{number(times, 0 if times >= 10 else 2)}**)",
            ]
        )
    head = [
        *(f"drawing, {rounds}", "at once", "evaluations an image"),
        *("ms an evaluation of an image", "images/s"),
    ]
    about = {**found, **found["versions"]}
    return f"{training}\n\n{grid(head, lines)}\n\n{footer([about], 'article-speed.json')}"


DRAWN = {
    "loang": "**loang**",
    "loang, distilled": "**loang, distilled**",
    "ddpm-pytorch": "denoising-diffusion-pytorch",
    "diffusers": "diffusers, its example's network",
    "diffusers-small": "diffusers, a small network",
    "smalldiffusion-batch-16": "smalldiffusion",
}


def sampling_speed(measured: Path) -> str:
    """Images a second that each library draws, and how many times as many loang's are."""
    found = read_json(measured / "sampling-speed.json")
    rows = found["rows"]
    own = [name for name in rows if "loang" in name]
    lines = [
        [
            DRAWN[name],
            f"{row['parameters'] / 1e6:.1f} M",
            row["sampler"].removeprefix("GaussianDiffusion.").removeprefix("smalldiffusion."),
            str(row["evaluations"]),
            f"{row['images_a_second']:.3g}",
            f"{row['milliseconds_an_evaluation']:.3g}",
            *("" if name in own else f"**{row['faster_by'][each]:.0f}**" for each in own),
        ]
        for name, row in rows.items()
    ]
    head = [
        *("", "parameters", "sampler", "evaluations", "images/s", "ms an evaluation"),
        *(f"{name} is faster by" for name in own),
    ]
    about = {**found, **found["versions"]}
    return grid(head, lines) + "\n\n" + footer([about], "sampling-speed.json")


TRAINED = {
    "loang-quick": "**loang, `quick`**",
    "loang-quick-unlabelled": "loang, `quick` without labels",
    "loang-tutorial": "loang, `tutorial`",
    "ddpm-pytorch": "denoising-diffusion-pytorch",
    "diffusers": "diffusers, its example's network",
    "diffusers-small": "diffusers, a small network",
    "smalldiffusion": "smalldiffusion",
    "smalldiffusion-batch-16": "smalldiffusion, batch 16",
}


def peers(measured: Path) -> str:
    """What was drawn after so many minutes of training by each library, the best first."""
    rows = sorted(read_rows(measured / "peers.csv"), key=lambda row: float(row["distance"]))
    lines = []
    for row in rows:
        cells = [
            f"{float(row['distance']):.2g} ± {float(row['error']):.1g}",
            f"{float(row['kid']):.4f} ± {float(row['kid_error']):.4f}",
            *(f"{float(row[name]):.2f}" for name in ("precision", "recall")),
        ]
        if row["name"] == "real images":
            lines.append([f"*{row['samples']} other real images*", "", "", "", *cells])
            continue
        [cells[0]] = bold(cells[:1], row["name"] == "loang-quick")
        size = f"{int(row['parameters']) / 1e6:.1f} M"
        images = number(row["images"], 0)
        lines.append([TRAINED[row["name"]], row["minutes"], size, images, *cells])
    head = [
        *("", "minutes", "parameters", "images seen"),
        *("Fréchet distance ↓", "KID ↓", "precision ↑", "recall ↑"),
    ]
    return grid(head, lines) + "\n\n" + footer(rows, "peers.csv")
