"""The root translation."""

from __future__ import annotations

import numpy as np

from h36m_amass.engine.run import add_translation
from h36m_amass.engine.skinning import translation_matrix


def test_translation_is_added_in_float64_and_rounded_once() -> None:
    rng = np.random.default_rng(2)
    relative, trans = rng.normal(size=(50, 4, 3)).astype(np.float32), 1000 * rng.normal(size=(50, 3))
    row_sums = rng.normal(size=4)
    exact = relative.astype(np.float64) + row_sums[:, None] * trans[:, None]
    shares = trans @ translation_matrix(row_sums)
    np.testing.assert_array_equal(add_translation(relative, shares), exact.astype(np.float32))
