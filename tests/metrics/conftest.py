"""Numbers to measure with."""

import numpy as np
import pytest


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers for each test, whichever others ran before it."""
    return np.random.default_rng(0)
