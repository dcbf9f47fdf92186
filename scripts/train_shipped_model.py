"""Train, measure and write the model that ships in the package, with its card.

    python scripts/train_shipped_model.py [--images N] [--run FOLDER]

Preset `quick` on the 60,000 training images of Fashion-MNIST, only longer; its weights are kept as
bfloat16, so that they take 3.4 MB. A run that was stopped is gone on with. The 10,000 held-out
images say nothing to training but the validation loss; distances are to the training images.
"""

import argparse
from pathlib import Path

import loang
from loang import api, built_in
from loang.evaluation.asked import Asked
from loang.evaluation.markdown import table
from loang.evaluation.report import Report
from loang.evaluation.words import heads, rows, sentences
from loang.model import Model
from loang.training.budget import duration
from loang.training.display import ConsoleDisplay

GUIDANCE = 1.5
"""The best of 1, 1.25, 1.5, 2 and 3 (docs/benchmarks.md): quick's 3 mends what five minutes leave
blurred, and hurts a model that has learnt for longer."""
MEASURED = 10_000
"""Samples, of which the card's numbers are."""


def trained(run: Path, images: int) -> Model:
    """The model of the run, to its end."""
    from loang.cli.console import console

    display = ConsoleDisplay(console)
    if (run / "config.json").exists():
        return loang.train(out=run, resume=True, display=display)
    budget = f"{images} images"
    # As the one that ships was trained: nobody has trained one for so long by Muon.
    changes = ["optimizer.kind=adamw"]
    return loang.train("fashion-mnist", out=run, budget=budget, changes=changes, display=display)


def written(model: Model, path: Path) -> Model:
    """The model as it ships, read back from its file."""
    sampling = model.settings.sampling.model_copy(update={"guidance": GUIDANCE})
    model.settings = model.settings.model_copy(update={"sampling": sampling})
    weights = model.denoiser.network.state_dict()
    model.save(path, {name: weight.bfloat16() for name, weight in weights.items()})
    return Model.load(path)


def card(model: Model, report: Report, images: int) -> str:
    """What anybody should know who uses it."""
    facts, space = model.facts, report.space
    about = "\n".join(
        f"| {name} | {measure} |"
        for name, measure in (
            ("data", f"Fashion-MNIST (MIT licence), {facts['training_images']:,} images"),
            ("network", f"{sum(p.numel() for p in model.denoiser.parameters()):,} parameters"),
            ("trained", f"{facts['images']:,} images, {facts['steps']:,} steps, seed 0"),
            ("on", f"{facts['hardware']}, {duration(facts['seconds'])}"),
            ("validation loss", f"{facts['validation_loss']:.4f}"),
            ("made by", f"loang {facts['loang']}, torch {facts['torch']}"),
        )
    )
    sampling = model.settings.sampling
    measured = "\n".join([*table(["", *heads(space)], rows(space)), ""])
    said = "\n".join(f"- {sentence}" for sentence in sentences(report))
    return f"""# The model that ships with loang

It draws clothes of Fashion-MNIST's ten classes, 28x28 and grey: `loang sample`, or in Python
`loang.load("built-in").sample(64)`. It is preset `quick`, trained for longer; its weights are
bfloat16. Made by

```
python scripts/train_shipped_model.py --images {images}
```

| | |
|---|---|
{about}

## Measured

{report.subject["images"]:,} samples by {sampling.sampler} in {sampling.steps} steps, guided by
{sampling.guidance:g}, in `{space.name}`. Beside them stand the floor (other real images) and what
any model must beat.

{said}

{measured}
It is for trying loang, for teaching and for tests. It knows nothing but these ten classes of
pictures, and what it draws is worth no more than they are.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--run", type=Path, default=Path("runs/shipped"))
    asked = parser.parse_args()

    model = written(trained(asked.run, asked.images), built_in.path())
    report = api.evaluate(
        built_in.path(), asked=Asked(MEASURED), out=asked.run / "evaluation-of-shipped"
    )
    built_in.path().with_suffix(".md").write_text(card(model, report, asked.images), "utf-8")


if __name__ == "__main__":
    main()
