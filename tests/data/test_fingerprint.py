from dataclasses import replace
from pathlib import Path

import numpy as np

from loang.data.fingerprint import fingerprint
from loang.data.images import Images
from loang.data.spec import ImageSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (5000, 3, 2, 1), np.uint8)
IMAGES = Images(PIXELS, ImageSpec(3, 2, 1, class_names=("a", "b")), np.arange(5000) % 2)


def test_depends_on_content_shape_labels_and_parts() -> None:
    pixels, labels = PIXELS.copy(), np.arange(5000) % 2
    pixels[4500, 1, 1, 0] ^= 1
    labels[3] = 0
    wide = Images(PIXELS.reshape(-1, 2, 3, 1), ImageSpec(2, 3, 1, class_names=("a", "b")))
    half = [
        replace(IMAGES, stored=PIXELS[s], labels=None) for s in (slice(2000), slice(2000, None))
    ]
    prints = [
        fingerprint(IMAGES),
        fingerprint(replace(IMAGES, stored=pixels)),
        fingerprint(replace(IMAGES, labels=labels)),
        fingerprint(replace(IMAGES, labels=None)),
        fingerprint(replace(IMAGES, spec=replace(IMAGES.spec, class_names=("b", "a")))),
        fingerprint(wide),
        fingerprint(*half),
        fingerprint(*half[::-1]),
        fingerprint(IMAGES, IMAGES),
    ]
    assert len(set(prints)) == len(prints)


def test_does_not_depend_on_how_it_is_stored(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", PIXELS)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    strided = np.asfortranarray(PIXELS)
    expected = fingerprint(IMAGES)
    for stored in (mapped, strided):
        assert fingerprint(replace(IMAGES, stored=stored)) == expected
    assert fingerprint(replace(IMAGES, labels=IMAGES.labels.astype(np.int32))) == expected
