import json
from pathlib import Path

import numpy as np
import pytest
import torch

from loang.data.images import Images
from loang.data.scaling import to_model
from loang.data.spec import ImageSpec
from loang.metrics.features import network
from loang.metrics.features.encoder import Encoder, EncoderSettings, fresh, fuse
from loang.metrics.features.network import NetworkFeatures

SPEC = ImageSpec(10, 10, 1)
PIXELS = np.random.Generator(np.random.Philox(0)).integers(0, 256, (7, 10, 10, 1)).astype(np.uint8)


def encoder(classes: int = 3, seed: int = 0) -> Encoder:
    settings = EncoderSettings(channels=1, classes=classes, dimension=6, widths=(4, 8, 8))
    return fuse(fresh(settings, seed=seed))


def prepare(images: Images) -> torch.Tensor:
    return to_model(images.pixels, images.spec)


def space(classes: int = 3) -> NetworkFeatures:
    made = encoder(classes)
    return NetworkFeatures("test", network.digest(made), "", made, prepare)


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    before = encoder()
    network.save(path, before, {"a": 1}, torch.float32)
    after, about = network.load(path)
    assert about == {"a": 1}
    assert after.settings == before.settings
    assert network.digest(after) == network.digest(before)
    x = prepare(Images(PIXELS, SPEC))
    assert torch.equal(after(x), before(x))


def test_half_the_bytes_are_nearly_the_same_weights(tmp_path: Path) -> None:
    network.save(tmp_path / "whole", encoder(), {}, torch.float32)
    network.save(tmp_path / "half", encoder(), {}, torch.float16)
    after, _ = network.load(tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.7 * (tmp_path / "whole").stat().st_size
    assert next(after.parameters()).dtype == torch.float32
    for a, b in zip(after.parameters(), encoder().parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=2**-11, atol=2**-24)


def test_what_is_no_encoder_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    with pytest.raises(ValueError, match="no encoder"):
        network.load(path)
    network.save(path, encoder(), {}, torch.float32)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(ValueError, match="no encoder"):
        network.load(path)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["loang"] = "{}"
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    with pytest.raises(ValueError, match="no encoder"):
        network.load(path)


def test_the_digest_is_that_of_every_weight() -> None:
    assert network.digest(encoder()) == network.digest(encoder())
    assert network.digest(encoder()) != network.digest(encoder(seed=1))
    changed = encoder()
    assert changed.head is not None
    changed.head.bias[0] += 1e-3
    assert network.digest(encoder()) != network.digest(changed)


def test_batches_change_nothing_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = space()(PIXELS, SPEC)
    monkeypatch.setattr(network, "BATCH", 3)
    calls: list[tuple[int, int]] = []
    parts = space()(PIXELS, SPEC, lambda done, total: calls.append((done, total)))
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    assert calls == [(3, 7), (6, 7), (7, 7)]
    assert whole.shape == (7, space().dimension)
    assert space()(PIXELS[:0], SPEC).shape == (0, 6)


def test_classes_are_the_heads_highest_score() -> None:
    made = space()
    assert made.encoder.head is not None
    weight, bias = (value.numpy() for value in made.encoder.head.parameters())
    # The head of an untrained network has a favourite: this bias takes it away.
    features = made(PIXELS, SPEC)
    bias -= (features @ weight.T).mean(0) + bias
    expected = (features @ weight.T + bias).argmax(1)
    assert len(set(expected.tolist())) > 1
    classes = made.classify(PIXELS, SPEC)
    assert classes is not None
    np.testing.assert_array_equal(classes, expected)
    assert space(classes=0).classify(PIXELS, SPEC) is None
