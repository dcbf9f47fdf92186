"""The article's own code, taken out of its text and mended until it runs. For TensorFlow 2.15.

Nothing of it is kept here: it is read from the text each time (Markdown, section 2). The classes'
stray indentation and a comment without its sign are mended, and what needs a download, a notebook
or a screen is left out. Used by scripts/make_keras_fixtures.py and benchmarks/article_worker.py.
"""

import re
from pathlib import Path
from typing import Any

FULL = 64
"""Channels of the first level of the article's network."""


def blocks_of(article: Path) -> list[str]:
    """Its blocks of code, as they stand there."""
    text = article.read_text(encoding="utf-8")
    return re.findall(r"^ *```\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)


def block(blocks: list[str], words: str) -> str:
    """The one block that has these words, mended."""
    (found,) = [each for each in blocks if words in each]
    # Classes and functions stand one or two columns in, and what belongs to them as if they did
    # not.
    return re.sub(r"^ {1,2}(?=class |@tf|def ddpm)", "", found, flags=re.MULTILINE)


def code_of(article: Path, width: int = FULL) -> dict[str, str]:
    """The article's blocks that training needs, each a program, mended.

    Args:
        article: its text, Markdown.
        width: channels of the network's first level, in place of 64.
    """
    blocks = blocks_of(article)
    network = block(blocks, "class UNet").replace("%matplotlib inline", "")
    for unused in ("tensorflow_datasets as tfds", "matplotlib.pyplot as plt"):
        network = network.replace(f"import {unused}\n", "")
    start = network.index("self.inc =")
    body = re.sub(
        r"\b(64|128|256|512)\b", lambda n: str(int(n[0]) * width // FULL), network[start:]
    )
    settings = re.sub(r"(timesteps\+1\))[^\n]*", r"\1", block(blocks, "timesteps = 500"))
    settings = re.sub(r"^\(x_train.*$", "", settings, flags=re.MULTILINE)  # no download
    step = block(blocks, "def train_step").partition("@tf.function\ndef test_step")[0]
    return {
        "network": network[:start] + body,
        "settings": settings.replace("\n ", "\n"),
        "noise": block(blocks, "class Forward_Noise"),
        "checkpoint": block(blocks, "tf.train.CheckpointManager"),
        "step": step,
    }


def sampling_of(article: Path) -> dict[str, str]:
    """The article's step of sampling, and its loop over the times without what it shows and keeps.

    The loop draws `images` at once where the article draws one, and stops after `evaluations` of
    its 500: both are names that it finds where it runs.
    """
    blocks = blocks_of(article)
    loop = block(blocks, "save_gif(img_list")
    # After what the loop computes it shows a picture of every 25th step.
    loop = loop[loop.index("x = tf.random.normal") : loop.index("    if i %")]
    loop = "".join(line for line in loop.splitlines(True) if "img_list" not in line)
    for old, new in (("((1,", "((images,"), ("tqdm(range(timesteps))", "range(evaluations)")):
        if loop.count(old) != 1:
            raise ValueError(f"the article's loop of sampling has no {old!r}")
        loop = loop.replace(old, new)
    return {"ddpm": block(blocks, "def ddpm"), "loop": loop}


def run(code: dict[str, str]) -> dict[str, Any]:
    """The article's names, once what `code_of` gives has run; its checkpoints go to ./checkpoints.

    `net`, `forward_noise` and `generate_timestamp` are made here, as the article does between its
    blocks or forgets to.
    """
    a: dict[str, Any] = {}
    for part in ("network", "settings", "noise"):
        execute(code, part, a)
    a["net"] = a["UNet"]()
    a["forward_noise"] = a["Forward_Noise"](a["sqrt_alpha_bar"], a["one_minus_sqrt_alpha_bar"])
    a["generate_timestamp"] = a["Generator"](a["timesteps"])
    for part in ("checkpoint", "step"):
        execute(code, part, a)
    return a


def execute(code: dict[str, str], part: str, names: dict[str, Any]) -> None:
    """One of the blocks, among these names."""
    exec(compile(code[part], f"article: {part}", "exec"), names)
