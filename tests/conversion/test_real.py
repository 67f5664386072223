"""Real recordings, where there are some beside the repository: the full mesh says the same of them, and so do archives.

The body is real as far as one can be had: its template, its joints, its soft tissue, SPIN's regressor and the map.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from h36m_amass import verify
from h36m_amass.conversion.builder import build
from h36m_amass.store.store import Store
from tests.archive_files import packed_tree
from tests.scenes import REAL, needs_real

pytestmark = needs_real
SMPLH = {
    "CMU/CMU/01/01_08_poses.npz": "CMU_01_01_08_poses.npz",
    "SSM/20160330_03333/dmpl_sample.npz": "dmpl_sample.npz",
}
SMPLX = {
    "CMU/01/01_08_stageii.npz": "smplx_male_stageii.npz",
    "CMU/01/male_stagei.npz": "CMU_01_male_stagei.npz",
    "CMU/01/pointer_stageii.npz": "git_lfs_pointer_stageii.npz",
    "BMLmovi/Subject_1/bedlam.npz": "bedlam_smplx_30hz.npz",
}


@pytest.mark.parametrize(
    ("recordings", "frame_rate", "is_mapped", "num_skipped"),
    [(SMPLH, 50.0, False, 0), (SMPLX, None, True, 1)],
    ids=["smplh", "smplx"],
)
def test_real_recordings_agree_with_the_full_mesh_and_with_themselves_in_an_archive(
    recordings: dict[str, str],
    frame_rate: float | None,
    is_mapped: bool,
    num_skipped: int,
    real_support: Path,
    tmp_path: Path,
) -> None:
    tree = tmp_path / "amass"
    for path, source in recordings.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REAL / "recordings" / source, tree / path)
    options = {
        "support_dir": real_support,
        "frame_rate": frame_rate,
        "native_rate": frame_rate is None,
        "vertex_map": real_support / "smplx_to_smpl.npz" if is_mapped else None,
    }
    report = build(tree, tmp_path / "s.h5", **options)
    assert (len(Store(tmp_path / "s.h5").sequences), len(report.skipped)) == (2, num_skipped)
    verification = verify(
        tmp_path / "s.h5", against=tree, support_dir=real_support, vertex_map=options["vertex_map"], sample=200
    )
    assert verification.findings == ()
    assert verification.compared_frames > 100
    assert 0 < verification.largest < 2e-6
    for suffix in (".tar.bz2", ".zip"):
        packed = packed_tree(tree, tmp_path / suffix, suffix)
        build(packed, tmp_path / "packed.h5", overwrite=True, **options)
        assert content_of(tmp_path / "packed.h5") == content_of(tmp_path / "s.h5")


def content_of(store: Path) -> list[tuple[str, str, int]]:
    """What a store has of each recording, wherever it lay."""
    records = [sequence.record for sequence in Store(store).sequences]
    return [(record.key, record.content_digest, record.checksum) for record in records]
