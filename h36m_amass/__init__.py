"""AMASS motion capture as a Human3.6M-compatible 3D joint dataset.

What is named here is the public interface. It is imported when it is first used, because torch takes a second.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from h36m_amass.body.folding import fold
    from h36m_amass.body.model import load as load_body_model
    from h36m_amass.body.regressor import load as load_regressor
    from h36m_amass.conversion.builder import build
    from h36m_amass.conversion.options import BuildOptions
    from h36m_amass.engine.posing import pose_joints
    from h36m_amass.errors import H36mAmassError
    from h36m_amass.export.motionbert import export_motionbert
    from h36m_amass.export.npz import export_npz
    from h36m_amass.importing.human36m import import_human36m
    from h36m_amass.recordings.subset import Subset
    from h36m_amass.store.store import Store
    from h36m_amass.store.stores import Stores
    from h36m_amass.training.sampling import WindowSampler
    from h36m_amass.training.windows import WindowDataset, collate
    from h36m_amass.verification.store import verify
    from h36m_amass.version import __version__

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is logged is shown to those who ask for it

_HOMES = {
    "BuildOptions": "conversion.options",
    "H36mAmassError": "errors",
    "Store": "store.store",
    "Stores": "store.stores",
    "Subset": "recordings.subset",
    "WindowDataset": "training.windows",
    "WindowSampler": "training.sampling",
    "__version__": "version",
    "build": "conversion.builder",
    "collate": "training.windows",
    "export_motionbert": "export.motionbert",
    "export_npz": "export.npz",
    "fold": "body.folding",
    "import_human36m": "importing.human36m",
    "load_body_model": "body.model",
    "load_regressor": "body.regressor",
    "pose_joints": "engine.posing",
    "verify": "verification.store",
}
__all__ = [
    "BuildOptions",
    "H36mAmassError",
    "Store",
    "Stores",
    "Subset",
    "WindowDataset",
    "WindowSampler",
    "__version__",
]
__all__ += ["build", "collate", "export_motionbert", "export_npz", "fold", "import_human36m", "load_body_model"]
__all__ += ["load_regressor", "pose_joints", "verify"]
_NAMES_AT_HOME = {"load_body_model": "load", "load_regressor": "load"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), _NAMES_AT_HOME.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
