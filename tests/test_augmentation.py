"""Changes of training images, and a network that is told of them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from checking import unchecked
from in_steps import IN_STEPS
from loang import augment, build, presets
from loang.augment import Changes
from loang.config import DataSettings, changed
from loang.data import Dataset, Images, ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.training.examples import Source
from loang.training.plan import prepare
from loang.training.trainer import Trainer

SQUARE, OBLONG = ImageSpec(5, 5, 1), ImageSpec(3, 5, 1)
ALL = DataSettings(flips=True, rotations=True, shifts=3, told=True)
POSITIONS = torch.arange(20_000)
TINY = (
    "network.width=8",
    "network.multipliers=1,1",
    "network.heads=1",
    *IN_STEPS,
    "training.batch=32",
    "training.precision=float32",
    "schedule.steps=100",
    "sampling.steps=20",
    "optimizer.learning_rate=0.003",
    "optimizer.warm_up=20",
)


def one(mirrored=None, turns=None, moved=None):
    """The changes of a batch of one image."""
    return Changes(*(None if v is None else torch.tensor([v]) for v in (mirrored, turns, moved)))


def changed_image(image, **changes):
    return augment.apply(torch.tensor(image)[None, None].float(), one(**changes))[0, 0].tolist()


KNOWN = [
    ({"mirrored": 0}, [[1, 2], [3, 4]]),
    ({"mirrored": 1}, [[2, 1], [4, 3]]),
    ({"turns": 0}, [[1, 2], [3, 4]]),
    ({"turns": 1}, [[2, 4], [1, 3]]),
    ({"turns": 2}, [[4, 3], [2, 1]]),
    ({"turns": 3}, [[3, 1], [4, 2]]),
    ({"moved": (0, 0)}, [[1, 2], [3, 4]]),
    ({"moved": (1, 0)}, [[1, 2], [1, 2]]),
    ({"moved": (-1, 0)}, [[3, 4], [3, 4]]),
    ({"moved": (0, 1)}, [[1, 1], [3, 3]]),
    ({"moved": (0, -1)}, [[2, 2], [4, 4]]),
    ({"moved": (-9, 9)}, [[3, 3], [3, 3]]),
    ({"mirrored": 1, "turns": 1}, [[1, 3], [2, 4]]),
    ({"mirrored": 1, "turns": 1, "moved": (0, 1)}, [[1, 1], [2, 2]]),
]


@pytest.mark.parametrize(("changes", "expected"), KNOWN, ids=str)
def test_each_change_is_right_on_known_pixels(changes, expected):
    assert changed_image([[1, 2], [3, 4]], **changes) == expected


def test_an_image_that_is_not_square_is_turned_by_half_a_circle():
    assert changed_image([[1, 2, 3], [4, 5, 6]], turns=2) == [[6, 5, 4], [3, 2, 1]]


def test_mirrors_and_turns_can_be_undone_and_shifts_but_for_the_edge():
    x = torch.randn(4, 2, 5, 5)
    flips, turns = torch.tensor([0, 1, 1, 0]), torch.arange(4)
    there = augment.apply(x, Changes(flips, turns, None))
    back = augment.apply(there, Changes(None, (4 - turns) % 4, None))
    assert torch.equal(augment.apply(back, Changes(flips, None, None)), x)
    moved = torch.tensor([[1, 0], [-1, 1], [0, -1], [1, 1]])
    there = augment.apply(x, Changes(None, None, moved))
    back = augment.apply(there, Changes(None, None, -moved))
    assert torch.equal(back[:, :, 1:-1, 1:-1], x[:, :, 1:-1, 1:-1])


def test_the_channels_of_an_image_are_changed_alike():
    x = torch.randn(6, 1, 5, 5)
    changes = augment.draw(ALL, SQUARE, seed=0, positions=torch.arange(6))
    thrice = augment.apply(x.expand(-1, 3, -1, -1), changes)
    assert torch.equal(thrice, augment.apply(x, changes).expand(-1, 3, -1, -1))


def likely(values, choices):
    counts = np.array([(values == choice).sum() for choice in choices])
    return counts.sum() == len(values) and stats.chisquare(counts).pvalue > 1e-4


def test_every_change_is_as_likely_and_none_says_anything_of_another():
    drawn = augment.draw(ALL, SQUARE, seed=0, positions=POSITIONS)
    moved = drawn.moved.numpy()
    flips, turns, down, right = drawn.mirrored.numpy(), drawn.turns.numpy(), *moved.T
    assert likely(flips, (0, 1))
    assert likely(turns, range(4))
    assert likely(down, range(-3, 4))
    assert likely(right, range(-3, 4))
    together = ((flips * 4 + turns) * 7 + down + 3) * 7 + right + 3
    assert likely(together, range(2 * 4 * 7 * 7))
    oblong = augment.draw(ALL, OBLONG, seed=0, positions=POSITIONS)
    assert likely(oblong.turns.numpy(), (0, 2))


def test_an_image_is_changed_the_same_whatever_is_in_its_batch():
    whole = augment.draw(ALL, SQUARE, seed=3, positions=torch.arange(100))
    part = augment.draw(ALL, SQUARE, seed=3, positions=torch.arange(40, 60))
    other = augment.draw(ALL, SQUARE, seed=4, positions=torch.arange(100))
    for all_of, some, others in zip(whole, part, other, strict=True):
        assert torch.equal(all_of[40:60], some)
        assert not torch.equal(all_of, others)


@pytest.mark.parametrize("name", ["flips", "rotations", "shifts"])
def test_a_change_alone_is_drawn_as_it_is_among_others(name):
    alone = DataSettings(**{name: getattr(ALL, name)})
    found = augment.draw(alone, SQUARE, seed=0, positions=torch.arange(50))
    among = augment.draw(ALL, SQUARE, seed=0, positions=torch.arange(50))
    field = {"flips": "mirrored", "rotations": "turns", "shifts": "moved"}[name]
    assert torch.equal(getattr(found, field), getattr(among, field))
    assert sum(values is not None for values in found) == 1


def test_the_flips_are_those_of_earlier_versions():
    """A run goes on with the very images that it would have seen."""
    flips = augment.draw(DataSettings(flips=True), SQUARE, seed=0, positions=torch.arange(16))
    assert flips.mirrored.tolist() == [0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("spec", [SQUARE, OBLONG], ids=["square", "oblong"])
@pytest.mark.parametrize(
    "settings",
    [
        ALL,
        DataSettings(flips=True, told=True),
        DataSettings(rotations=True, told=True),
        DataSettings(shifts=2, told=True),
    ],
    ids=str,
)
def test_what_is_told_is_nothing_for_an_unchanged_image_and_different_for_each_change(
    settings, spec
):
    drawn = augment.draw(settings, spec, seed=0, positions=torch.arange(5000))
    told = augment.told(settings, spec, drawn)
    assert told.shape == (5000, augment.parameters(settings, spec))
    assert float(told.abs().max()) == 1
    there = [v.reshape(5000, -1) for v in drawn if v is not None]
    changes = torch.cat(there, dim=1)
    unchanged = (changes == 0).all(1)
    assert bool(unchanged.any())
    assert torch.equal((told == 0).all(1), unchanged)
    assert len(told.unique(dim=0)) == len(changes.unique(dim=0))
    assert len(torch.cat((told, changes), 1).unique(dim=0)) == len(changes.unique(dim=0))


def test_changes_are_drawn_where_the_images_are():
    """Images that fit on a GPU lie there, and so must all that is done to them."""
    settings = changed(
        presets.preset("quick"), ("data.flips=true", "data.shifts=1", "data.told=true")
    )
    images = Images(np.zeros((8, 5, 5, 1), np.uint8), SQUARE)
    elsewhere = torch.device("meta")
    source = Source(images, settings, 0, torch.device("cpu"))
    source.device, source.feed = elsewhere, Elsewhere(images, elsewhere)
    x0, _, told = source(0, 4)
    assert (x0.device, told.device) == (elsewhere, elsewhere)
    assert (x0.shape, told.shape) == ((4, 1, 5, 5), (4, 3))


class Elsewhere:
    """A feed of images that lie on another device."""

    def __init__(self, images, on):
        self.images, self.on = images, on

    def __call__(self, indices):
        return torch.zeros((len(indices), 1, 5, 5), device=self.on)


def test_a_network_that_is_not_told_is_the_network_without_any_change():
    plain = changed(presets.preset("quick"), TINY)
    same = changed(plain, ["data.flips=true", "data.rotations=true", "data.shifts=2"])
    told = changed(same, ["data.told=true"])
    states = [build.build_denoiser(s, SQUARE).network.state_dict() for s in (plain, same, told)]
    for one, other in pairwise(states):
        for name, weight in one.items():
            assert torch.equal(other[name], weight)
    assert states[0].keys() == states[1].keys()
    assert states[2].keys() - states[0].keys() == {"augmentation.weight"}


def test_the_tutorials_network_cannot_be_told():
    settings = changed(presets.preset("tutorial"), ["data.flips=true", "data.told=true"])
    with pytest.raises(LoangError, match=r"can't be told.*data\.told=false"):
        build.weight_shapes(settings, SQUARE)


def arrows(count=128, side=8):
    """Images whose upper part is bright."""
    pixels = np.zeros((count, side, side, 1), np.uint8)
    pixels[:, :3] = np.random.default_rng(0).integers(150, 256, (count, 1, 1, 1))
    return Images(pixels, ImageSpec(side, side, 1))


def trainer(*changes):
    settings = changed(presets.preset("quick"), [*TINY, *changes])
    images = arrows()
    return Trainer(
        build.build_denoiser(settings, images.spec), images, settings, torch.device("cpu")
    )


def test_training_changes_images_and_tells_how_and_validation_changes_none():
    changes = ("data.flips=true", "data.rotations=true", "data.shifts=2", "data.told=true")
    plain, subject = trainer(), trainer(*changes)
    before, x0 = plain.batch(40, 24)[0], subject.batch(40, 24)[0]
    told = subject.batch(40, 24).told
    still = (told == 0).all(1)
    assert torch.equal(x0[still], before[still])
    assert not torch.equal(x0, before)
    assert torch.equal(told[8:], subject.batch(48, 16).told)
    assert plain.batch(40, 24).told is None
    asked = []
    subject.denoiser.network.register_forward_pre_hook(
        lambda _, given, named: asked.append(named), with_kwargs=True
    )
    subject.step(0.0)
    assert torch.equal(asked[0]["augmentation"], subject.batch(0, 32).told)
    seen = []
    subject.denoiser.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    subject.validate(subject.images)
    assert asked[1:] == [{}] * len(seen)
    unchanged = trainer("data.told=true")
    expected = []
    unchanged.denoiser.network.register_forward_pre_hook(lambda _, a: expected.append(a[0]))
    unchanged.validate(subject.images)
    assert all(map(torch.equal, seen, expected))


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_a_network_that_is_told_of_turns_draws_upright_images_and_another_does_not(told):
    """Karras et al. 2022, appendix F.2: augmentation does not leak into the samples."""
    subject = trainer("data.rotations=true", f"data.told={str(told).lower()}")
    with unchecked():
        for step in range(STEPS):
            subject.step(step / STEPS)
    model = Model(subject.denoiser, subject.images.spec, subject.settings)
    with unchecked(), subject.averaged():
        drawn = model.sample(64)[..., 0].astype(float)
    # How often a sample's brightest side is the upper, right, lower and left one.
    sides = [np.rot90(drawn, k, (1, 2))[:, :3].mean((1, 2)) for k in range(4)]
    found = np.bincount(np.argmax(sides, 0), minlength=4)
    if told:
        assert found[0] > 58
    else:
        assert found.max() < 40


STEPS = 200


def named(*names, side=5):
    return replace(SQUARE, class_names=names, width=side)


FLIPPED, TURNED = DataSettings(flips=True), DataSettings(rotations=True)


@pytest.mark.parametrize(
    "names",
    [
        tuple("0123456789"),
        tuple("abc"),
        ("A", "B", "Ω"),
        ("zero", "One"),
        ("digit_3", "digit_4"),
        ("0 - zero", "1 - one"),
    ],
    ids=str,
)
def test_mirrored_digits_and_letters_are_warned_of(names):
    assert "digits or letters" in augment.warning(FLIPPED, named(*names))
    assert "data.rotations=false" in augment.warning(TURNED, named(*names))
    assert augment.warning(DataSettings(shifts=3), named(*names)) is None
    assert augment.warning(DataSettings(flips=True, told=True), named(*names)) is None


@pytest.mark.parametrize(
    "names", [(), ("cat", "dog"), ("a", "cat"), ("10", "11"), ("T-shirt", "Bag")], ids=str
)
def test_other_classes_are_not_warned_of(names):
    assert augment.warning(DataSettings(flips=True, rotations=True), named(*names)) is None


def test_a_person_is_told_that_oblong_images_are_not_turned_by_90_degrees():
    said = augment.warning(TURNED, named("cat", "dog", side=7))
    assert "5x7 are not square" in said
    assert "180" in said
    assert augment.warning(FLIPPED, named("cat", "dog", side=7)) is None


def test_a_plan_says_what_a_person_should_know_of_the_changes():
    spec = ImageSpec(4, 6, 1, class_names=("6", "9"))
    images = Images(np.zeros((3, 4, 6, 1), np.uint8), spec, np.array([0, 1, 1]))
    dataset = Dataset("signs", images, images, "0")
    plain = changed(presets.preset("quick"), TINY)
    said = prepare(changed(plain, ["data.rotations=true"]), dataset).describe()
    assert augment.warning(TURNED, spec) in said
    assert len(said) == len(prepare(plain, dataset).describe()) + 1
