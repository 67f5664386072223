"""Bodies and regressors that are loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from h36m_amass.body import model as body_model
from h36m_amass.body import regressor


@pytest.fixture(scope="session")
def body(whole_support_dir: Path) -> body_model.BodyModel:
    return body_model.load(whole_support_dir, "male")


@pytest.fixture(scope="session")
def joints(whole_support_dir: Path) -> regressor.JointRegressor:
    return regressor.load(whole_support_dir / "J_regressor_h36m.npy")
