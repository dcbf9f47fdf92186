"""Rebuild tests/fixtures/keras: what the article's own code saves, and what its network computes.

    python -m venv tf215 && tf215/bin/pip install "tensorflow==2.15.*" \
        "tensorflow-addons==0.23.*" "numpy<2"
    tf215/bin/python scripts/make_keras_fixtures.py article.md
    python scripts/make_keras_fixtures.py article.md      # tensorflow 2.16 or later: Keras 3

Python 3.11 is the newest that tensorflow 2.15 takes. The code is taken out of the article's text
and run, a little mended (article_code.py); in Keras 3, where `tensorflow_addons` can't be had, what
stands for it is stated below. The committed files are of a network with every width divided by 32.
With --full they are of the article's own size (they take some hundred megabytes, so name a folder),
and so is what follows:

    tf215/bin/python scripts/make_keras_fixtures.py article.md --full --out full
    python scripts/make_keras_fixtures.py --check full

--check needs loang, and no tensorflow: it imports every file and compares the network's outputs,
and one training step from the optimizer's slots, with what Keras computed.
"""

import argparse
import lzma
import os
import sys
import types
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
from article_code import FULL, code_of, run  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "keras"
SIDE, BATCH, NARROW = 32, 4, 2
STEPS = 2
"""Of training, before anything is saved; one more makes the reference of a step."""
CHECKPOINT = 7
"""The epoch that the checkpoint is numbered for."""


def for_keras_3(code: str) -> str:
    """What has to be changed there: numbers are handed to a layer by name, not by position."""
    code = code.replace("pos_encoding(t, self.time_dim)", "pos_encoding(t, channels=self.time_dim)")
    return code.replace("generate_timestamp(batch", "generate_timestamp.generate_timestamp(batch")


def addons() -> types.ModuleType:
    """What stands for `tensorflow_addons` in Keras 3: its layers, by what they compute."""
    import keras

    class GELU(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.activations.gelu(x, approximate=True)

    def norm(groups: int) -> Any:
        return keras.layers.GroupNormalization(groups, epsilon=1e-3)

    made = types.ModuleType("tensorflow_addons")
    made.layers = types.SimpleNamespace(GELU=GELU, GroupNormalization=norm)  # type: ignore[attr-defined]
    made.optimizers = types.SimpleNamespace(AdamW=keras.optimizers.AdamW)  # type: ignore[attr-defined]
    return made


def images(count: int, seed: int) -> np.ndarray:
    """Smooth pictures in [0, 1], float32, (count, SIDE, SIDE, 1)."""
    random = np.random.default_rng(seed)
    at = np.linspace(0, 1, SIDE)
    waves = [
        np.sin(a * at[:, None] + b * at[None, :] + c)
        for a, b, c in random.uniform(1, 9, (count, 3))
    ]
    return (0.5 + 0.5 * np.stack(waves)[..., None]).astype(np.float32)


def make(article: Path, width: int, out: Path) -> None:
    """Run the article's code and keep what it saves."""
    import tensorflow as tf

    third = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 16)
    if third:
        sys.modules["tensorflow_addons"] = addons()
    code = code_of(article, width)
    if third:
        code = {name: for_keras_3(each) for name, each in code.items()}
    name = "keras3" if third else "keras2"
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # the article's CheckpointManager writes to ./checkpoints
    tf.keras.utils.set_random_seed(0)
    a = run(code)
    net, opt = a["net"], a["opt"]
    for seed in range(STEPS):
        a["train_step"](tf.constant(images(BATCH, seed)))
    a["ckpt_manager"].save(checkpoint_number=CHECKPOINT)
    with_slots = tf.train.Checkpoint(net=net, opt=opt)
    tf.train.CheckpointManager(with_slots, "./with-optimizer", max_to_keep=2).save(CHECKPOINT)
    net.save_weights("net.weights.h5")
    if third:
        net.compile(optimizer=opt, loss="mse")
        net.save("net.keras")
    else:
        net.save_weights("net.h5")
        if width == FULL:
            net.save_weights("./weights/net")

    random = np.random.default_rng(5)
    reference: dict[str, Any] = {
        "versions": f"tensorflow {tf.__version__}",
        "iterations": int(opt.iterations.numpy()),
        "alpha_bar": a["alpha_bar"],
    }
    x = random.standard_normal((3, SIDE, SIDE, 1)).astype(np.float32)
    t = np.array([1, 250, 499], np.int32)
    reference |= {"x": x, "t": t, "y": net(tf.constant(x), tf.constant(t)).numpy()}
    # The article's train_step, with the numbers that it drew.
    t = np.array([3, 99, 250, 498], np.int32)
    noise = random.standard_normal((BATCH, SIDE, SIDE, 1)).astype(np.float32)
    signal = np.sqrt(a["alpha_bar"][t]).reshape(-1, 1, 1, 1)
    x = (signal * images(BATCH, 99) + np.sqrt(1 - signal**2) * noise).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = a["loss_fn"](noise, net(tf.constant(x), tf.constant(t)))
    gradients = tape.gradient(loss, net.trainable_variables)
    opt.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
    reference |= {"step_x": x, "step_t": t, "step_noise": noise, "step_loss": float(loss)}
    for number, weight in enumerate(net.trainable_variables):
        reference[f"after/{number:03d}"] = weight.numpy()
    np.savez("reference.npz", **reference)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            if width == NARROW:  # HDF5 is mostly zeros then
                packed = path.with_name(f"{path.name}.xz")
                packed.write_bytes(lzma.compress(path.read_bytes(), preset=9))
                path.unlink()
                path = packed
            print(f"{path.relative_to(out)}: {path.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("article", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=FIXTURES)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--check", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    if asked.check:
        sys.path.insert(0, str(FIXTURES.parents[1] / "interop"))
        from keras_reference import check

        check(asked.check)
        return
    make(asked.article.resolve(), FULL if asked.full else NARROW, asked.out.resolve())


if __name__ == "__main__":
    main()
