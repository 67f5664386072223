"""AMASS motion capture as a Human3.6M-compatible 3D joint dataset.

What is named here is the public interface. It is imported when it is first used, because torch takes a second.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from h36m_amass.body_model import load as load_body_model
    from h36m_amass.builder import build
    from h36m_amass.export import export_npz
    from h36m_amass.folding import fold
    from h36m_amass.motionbert import export_motionbert
    from h36m_amass.packing import pose_joints
    from h36m_amass.regressor import load as load_regressor
    from h36m_amass.shards import Shard
    from h36m_amass.store import Store
    from h36m_amass.subset import Subset
    from h36m_amass.verification import verify
    from h36m_amass.version import __version__
    from h36m_amass.windows import WindowDataset, collate

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is logged is shown to those who ask for it

_HOMES = {
    "Shard": ("shards", "Shard"),
    "Store": ("store", "Store"),
    "Subset": ("subset", "Subset"),
    "WindowDataset": ("windows", "WindowDataset"),
    "__version__": ("version", "__version__"),
    "build": ("builder", "build"),
    "collate": ("windows", "collate"),
    "export_motionbert": ("motionbert", "export_motionbert"),
    "export_npz": ("export", "export_npz"),
    "fold": ("folding", "fold"),
    "load_body_model": ("body_model", "load"),
    "load_regressor": ("regressor", "load"),
    "pose_joints": ("packing", "pose_joints"),
    "verify": ("verification", "verify"),
}

__all__ = [
    "Shard",
    "Store",
    "Subset",
    "WindowDataset",
    "__version__",
    "build",
    "collate",
    "export_motionbert",
    "export_npz",
    "fold",
    "load_body_model",
    "load_regressor",
    "pose_joints",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
