"""What each process of `test_following.py` does: the average validated by all of them."""

import pytest
from trainers import trainer

from loang.data import Images
from loang.errors import LoangError
from loang.team.joining import join
from loang.training.following import END, obey, validate

team = join()
rank = team.place.rank
shared = trainer(team=team)
alone = trainer()  # of the same images and weights, all by itself
every = shared.images
few = Images(every.pixels[:2], every.spec, every.labels[:2])
plain = shared.objective.error
seen = []


def noted(x0, label, numbers):
    seen.extend(numbers.tolist())
    return plain(x0, label, numbers)


def failing(x0, label, numbers):
    raise MemoryError("none is left")


def validated(images):
    with shared.averaged():
        return validate(shared, images)


def expected(images):
    with alone.averaged():
        return pytest.approx(alone.validate(images), rel=1e-6)


def lead():
    for _ in range(3):
        shared.step(0.5)
        alone.step(0.5)
    assert validated(every) == expected(every)
    # Two images are too few for three processes.
    assert validated(few) == expected(few)
    # What fails is told, whoever fails; and the next time all are there again.
    with pytest.raises(LoangError, match="fails in process 2"):
        validated(every)
    shared.objective.error = failing
    with pytest.raises(MemoryError, match="none is left"):
        validated(every)
    shared.objective.error = plain
    assert validated(every) == expected(every)
    team.tell([END])


def follow():
    images = iter([every, few, every, every, every])
    number = 0
    while told := team.tell():
        if told[0] == "validate":
            shared.objective.error = failing if (rank, number) == (2, 2) else noted
            seen.clear()
            held_out = next(images)
            assert obey(told, shared, held_out)
            share = team.part(len(held_out))
            assert seen == ([] if (rank, number) == (2, 2) else list(share))
            number += 1
        elif not obey(told, shared, every):
            break
    assert number == 5


lead() if team.leads else follow()
