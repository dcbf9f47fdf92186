import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loang.evaluation import drawn
from loang.shares import labels_like


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.integers(1, 3000))
def test_labels_keep_the_proportions_at_any_length(shares, count):
    shares = np.array(shares, dtype=np.float64)
    labels = labels_like(shares, count)
    found = np.bincount(labels, minlength=len(shares))
    # The multiples of the golden ratio have a discrepancy of O(log n): a handful of images.
    assert np.abs(found - count * shares / shares.sum()).max() < 4 + np.log(count)
    assert not found[shares == 0].any()
    np.testing.assert_array_equal(
        labels[: count // 2], labels_like(shares, max(count // 2, 1))[: count // 2]
    )


def draw(model, count, folder, **changes):
    sampling = model.settings.sampling
    asked = {"seed": 0, "sampling": sampling, "shares": np.array([1.0, 3.0]), **changes}
    return drawn.draw(model, count, folder, **asked)


def test_what_was_stopped_is_gone_on_with_and_is_the_same(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "PART", 4)
    whole = draw(untrained, 10, None)
    calls = []
    sample = type(untrained).sample

    def stop_at_the_third(self, count, **asked):
        calls.append(count)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return sample(self, count, **asked)

    monkeypatch.setattr(type(untrained), "sample", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        draw(untrained, 10, tmp_path)
    resumed = draw(untrained, 10, tmp_path)
    assert calls == [4, 4, 2, 2]
    np.testing.assert_allclose(
        resumed.pixels.astype(int), whole.pixels.astype(int), atol=1
    )  # the last bits of a batch depend on its size
    np.testing.assert_array_equal(resumed.labels, whole.labels)
    assert set(resumed.labels) == {0, 1}

    more = draw(untrained, 11, tmp_path)
    assert calls[4:] == [1]
    np.testing.assert_array_equal(more.pixels[:10], resumed.pixels)


def test_a_damaged_part_is_drawn_again(untrained, tmp_path):
    first = draw(untrained, 6, tmp_path)
    (part,) = tmp_path.rglob("*.npy")
    part.write_bytes(part.read_bytes()[:100])
    np.testing.assert_array_equal(draw(untrained, 6, tmp_path).pixels, first.pixels)
    part.write_bytes(b"")
    np.testing.assert_array_equal(draw(untrained, 6, tmp_path).pixels, first.pixels)


def test_other_weights_seeds_and_ways_of_sampling_are_kept_apart(untrained, tmp_path):
    first = draw(untrained, 6, tmp_path)
    more = untrained.settings.sampling.model_copy(update={"steps": 7})
    assert (draw(untrained, 6, tmp_path, seed=1).pixels != first.pixels).any()
    assert (draw(untrained, 6, tmp_path, sampling=more).pixels != first.pixels).any()
    for weight in untrained.denoiser.parameters():
        weight.data.add_(0.05)
    assert (draw(untrained, 6, tmp_path).pixels != first.pixels).any()
    assert len(list(tmp_path.iterdir())) == 4
