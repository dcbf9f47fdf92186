"""The article's own code under TensorFlow, timed on request: the other end of article_speed.py.

It prepares, says so in a line of JSON, and then reads lines: `train`, `sample` (as many images at
once as are asked for) or `sample one`. Each is one round, answered by its seconds. Between them it
waits for the next line and computes nothing. It needs TensorFlow 2.15 and no loang.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

SIDE = 32


def prepared(asked: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What a round of each kind computes; all of it has run once, so that functions are traced."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    tf.config.threading.set_inter_op_parallelism_threads(asked.threads)
    tf.keras.utils.set_random_seed(0)
    # It would say of each layer that its source is in no file; what is traced is the same.
    tf.get_logger().setLevel("ERROR")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
    from article_code import code_of, run, sampling_of

    article = asked.article.resolve()
    sampling = sampling_of(article)
    loop = compile(sampling["loop"], "article: loop", "exec")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # its checkpoints would go there, though none is saved
        a = run(code_of(article))
        os.chdir(os.sep)
    exec(compile(sampling["ddpm"], "article: ddpm", "exec"), a)
    batch = tf.random.uniform((asked.batch, SIDE, SIDE, 1))

    def train() -> None:
        for _ in range(asked.steps):
            loss = a["train_step"](batch)
        float(loss)

    def sample(images: int) -> Callable[[], object]:
        def walk() -> Any:
            a.update(images=images, evaluations=asked.evaluations)
            exec(loop, a)
            return a["x"].numpy()

        return walk

    rounds = {"train": train, "sample": sample(asked.drawn), "sample one": sample(1)}
    a["train_step"](batch)
    for name in ("sample", "sample one"):
        rounds[name]()
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("article", type=Path)
    for name in ("batch", "steps", "drawn", "evaluations", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    # Whatever else is printed there, by the article too, must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    rounds = prepared(asked)

    about = {name: version(name) for name in ("tensorflow", "tensorflow-addons")}
    print(json.dumps(about), file=answers)
    for line in sys.stdin:
        start = time.perf_counter()
        rounds[line.strip()]()
        print(json.dumps(time.perf_counter() - start), file=answers)


if __name__ == "__main__":
    main()
