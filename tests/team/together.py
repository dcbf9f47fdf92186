"""What each process of `test_team.py` does: a team in all its ways, checked on the spot."""

import numpy as np
import pytest
import torch

from loang.team.joining import join
from loang.team.place import Place
from loang.team.team import Team

team = join()
assert join() is team
rank, size = team.place.rank, team.size
assert team.leads == (rank == 0)

# Each thing belongs to one process, and the shares differ by one at most.
for count in (size, 7, 64, 1000):
    parts = [Team(Place(each, size, each, size)).part(count) for each in range(size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert team.part(count) == parts[rank]

# The leader's word, short, long, empty, and of all signs.
for value in (None, [], {"a": [1, 2.5, None, "é€"]}, "x" * 100_000, 0.1 + 0.2):
    assert team.tell(value if team.leads else "what others say is not heard") == value

# Its tensors, of each kind and shape, to the bit.
given = {
    "weights": torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last),
    "half": torch.randn(7).bfloat16(),
    "count": torch.tensor(3),
    "flags": torch.tensor([True, False]),
    "none": torch.empty(0, 4),
    "not numbers": torch.tensor([float("nan"), float("inf"), -0.0]),
}
found = team.hand_out(given if team.leads else None)
sums = {name: t.contiguous().reshape(-1).view(torch.uint8).tolist() for name, t in found.items()}
assert team.tell(sums) == sums
assert [list(t.shape) for t in found.values()] == [list(t.shape) for t in given.values()]

# Sums in place, whatever lies how in memory, in one bucket or many.
for bucket in (2**25, 5):
    import loang.team.team as module

    module.BUCKET = bucket
    tensors = [
        torch.full((2, 3, 4, 4), rank + 1.0).to(memory_format=torch.channels_last),
        torch.arange(6.0).view(2, 3).t() * (rank + 1),
        torch.tensor(rank + 1.0),
    ]
    team.add_up(tensors)
    total = size * (size + 1) / 2
    assert torch.equal(tensors[0], torch.full((2, 3, 4, 4), total))
    assert torch.equal(tensors[1], torch.arange(6.0).view(2, 3).t() * total)
    assert float(tensors[2]) == total

# Of what is handed out each keeps what it likes.
kept = team.hand_out(given if team.leads else None, lambda name, whole: whole.flatten()[:rank])
assert list(kept) == list(given)
assert torch.equal(kept["weights"], found["weights"].flatten()[:rank])

# What torch itself waits in gives what it gives, or raises what it raises.
assert team.within(lambda: rank) == rank
with pytest.raises(ValueError, match="no number"):
    team.within(lambda: int("no number"))

# Parts become a whole, in order, of any lengths.
part = torch.arange(rank + 1) + 10 * rank
expected = torch.cat([torch.arange(each + 1) + 10 * each for each in range(size)])
assert torch.equal(team.whole(part), expected)

# Arrays come to the leader; one may have nothing to give.
counts = [2, 0, 1][:size] if size <= 3 else [2] + [0] * (size - 1)
array = np.full((counts[rank], 2, 3), 1000 + rank, np.uint16)
gathered = team.gather(array, counts)
if team.leads:
    assert [len(each) for each in gathered] == counts
    assert all((each == 1000 + i).all() for i, each in enumerate(gathered))

print("all is well")
