"""The main job on made-up data: body models, recordings, store, npz files and a picture."""

from dataclasses import dataclass
from pathlib import Path

from h36m_amass import synthetic
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.report import BuildReport
from h36m_amass.errors import H36mAmassError
from h36m_amass.export.npz import export_npz
from h36m_amass.plot import require_matplotlib
from h36m_amass.plot.poses import draw_poses
from h36m_amass.store.store import Store
from h36m_amass.system.progress import Progress

MARKER = "SYNTHETIC.txt"


class DemoError(H36mAmassError):
    """The demo would overwrite what it did not make."""


@dataclass(frozen=True)
class Demo:
    """What a demo made: body models, recordings, and what was converted, exported and drawn of them."""

    support_dir: Path
    amass_dir: Path
    store: Path
    npz: tuple[Path, ...]
    picture: Path
    report: BuildReport


def run_demo(folder: Path | str, progress: Progress | None = None) -> Demo:
    """Make everything under `folder`; what an earlier demo left there is replaced.

    Raises
    ------
    h36m_amass.plot.PlotError
        If matplotlib (extra ``plot``) is not installed.
    DemoError
        If `folder` holds body models or recordings that no demo made.
    """
    require_matplotlib()
    folder = Path(folder)
    support_dir, amass_dir = folder / "support_data", folder / "amass"
    for input_dir in (support_dir, amass_dir):
        if input_dir.exists() and not (input_dir / MARKER).exists():
            raise DemoError("is there and was not made by a demo; give the demo a folder of its own", input_dir)
    store, picture = folder / "amass_h36m.h5", folder / "walk.png"
    for input_dir in (support_dir, amass_dir):
        input_dir.mkdir(parents=True, exist_ok=True)
        (input_dir / MARKER).write_text(f"{synthetic.SYNTHETIC_NOTE}\n", encoding="utf-8")
    synthetic.write_support_data(support_dir)
    synthetic.write_amass_tree(amass_dir)
    report = build(amass_dir, store, support_dir=support_dir, overwrite=True, progress=progress)
    npz = tuple(export_npz(store, folder / "npz"))
    with Store(store) as opened:
        walk = next(s for s in opened.sequences if "walk" in s.key)
        draw_poses(walk, picture, seconds=1.2, overwrite=True)
    return Demo(support_dir, amass_dir, store, npz, picture, report)
