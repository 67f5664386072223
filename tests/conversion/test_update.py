"""An update adds what is new, converts what has changed, and removes or changes nothing else."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport, Changes
from h36m_amass.recordings.subset import Subset
from h36m_amass.store import format as store_format
from h36m_amass.store.store import Store, StoreError
from tests.conftest import Outcome
from tests.scenes import recording, write, write_dataset


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two datasets of four recordings."""
    write_dataset(tmp_path / "amass", "A", 4, frames=40)
    write_dataset(tmp_path / "amass", "B", 4, frames=40, seed=10)
    return tmp_path / "amass"


@pytest.fixture
def store(tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str]) -> Path:
    """A store of the tree; what was converted is counted from then on."""
    build(tree, tmp_path / "s.h5", support_dir=support_dir)
    converted.clear()
    return tmp_path / "s.h5"


def update(tree: Path, store: Path, support_dir: Path, **options: Any) -> Changes:
    report = build(tree, store, support_dir=support_dir, update=True, **options)
    assert isinstance(report, BuildReport)
    assert report.changes is not None
    return report.changes


def assert_fresh(tree: Path, store: Path, support_dir: Path, **options: Any) -> None:
    """The store has the bytes of one that is built anew."""
    build(tree, store.with_name("fresh.h5"), support_dir=support_dir, overwrite=True, **options)
    assert store.read_bytes() == store.with_name("fresh.h5").read_bytes()


def keys(store: Path) -> list[str]:
    with Store(store) as opened:
        return [sequence.key for sequence in opened.sequences]


def test_without_a_change_nothing_is_converted_and_the_bytes_stay(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    before = store.read_bytes()
    assert update(tree, store, support_dir) == Changes(0, 0, 8, 0, False)
    for path in tree.rglob("*.npz"):
        os.utime(path, (1, 1))  # the content counts, not the time
    assert update(tree, store, support_dir, prune=True) == Changes(0, 0, 8, 0, True)
    assert not converted
    assert store.read_bytes() == before


def test_without_a_store_an_update_is_a_build(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert report.changes is None
    assert_fresh(tree, tmp_path / "s.h5", support_dir)


def test_what_is_new_is_converted_alone(tree: Path, store: Path, support_dir: Path, converted: Counter[str]) -> None:
    write(tree / "A" / "S" / "new.npz", recording(40, 99))
    write_dataset(tree, "Aa", 2, frames=40, seed=50)[0].rename(tree / "Aa" / "S" / "other.npz")
    assert update(tree, store, support_dir) == Changes(3, 0, 8, 0, False)
    assert sorted(converted) == ["0001.npz", "new.npz", "other.npz"]
    assert sum(converted.values()) == 3
    assert_fresh(tree, store, support_dir)


@pytest.mark.parametrize("change", ["longer", "other values", "other gender"])
def test_a_changed_recording_is_converted_again_alone(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str], change: str
) -> None:
    path = tree / "A" / "S" / "0002.npz"
    before = path.stat()
    arrays = {
        "longer": recording(50, 2),
        "other values": recording(42, 99),
        "other gender": recording(42, 2, "female"),
    }[change]
    write(path, arrays)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the content counts, not the time
    assert update(tree, store, support_dir) == Changes(0, 1, 7, 0, False)
    assert list(converted) == ["0002.npz"]
    assert_fresh(tree, store, support_dir)


def test_exchanged_genders_are_noticed(tree: Path, store: Path, support_dir: Path, converted: Counter[str]) -> None:
    """Poses, sizes and times stay as they were."""
    for number, gender in enumerate(("female", "male")):
        path = tree / "A" / "S" / f"000{number}.npz"
        with np.load(path) as npz:
            arrays = dict(npz)
        write(path, {**arrays, "gender": np.array(gender)})
    assert update(tree, store, support_dir) == Changes(0, 2, 6, 0, False)
    assert sorted(converted) == ["0000.npz", "0001.npz"]
    assert_fresh(tree, store, support_dir)


def test_exchanged_recordings_are_changes_that_need_no_conversion(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    first, second, aside = (tree / "A" / "S" / name for name in ("0000.npz", "0001.npz", "aside"))
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    assert update(tree, store, support_dir) == Changes(0, 2, 6, 0, False)
    assert not converted
    assert_fresh(tree, store, support_dir)


def test_a_recording_that_was_compressed_anew_keeps_its_joints_and_gets_its_size(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    with Store(store) as before:
        first = before.sequences[0]
        path, joints, size = tree / first.record.source_path, first.positions_3d[:], first.record.source_size
    with np.load(path) as npz:
        arrays = dict(npz)
    np.savez_compressed(path, **arrays)
    assert path.stat().st_size != size
    build(tree, store, support_dir=support_dir, update=True)
    with Store(store) as after:
        assert after.sequences[0].record.source_size == path.stat().st_size
        np.testing.assert_array_equal(after.sequences[0].positions_3d[:], joints)
    assert not converted


def test_a_renamed_recording_is_added_without_conversion_and_stays_under_its_old_name(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    (tree / "A" / "S" / "0000.npz").rename(tree / "A" / "S" / "renamed.npz")
    assert update(tree, store, support_dir) == Changes(1, 0, 7, 1, False)
    assert {"A/S/0000", "A/S/renamed"} <= set(keys(store))
    assert update(tree, store, support_dir, prune=True) == Changes(0, 0, 8, 1, True)
    assert not converted
    assert_fresh(tree, store, support_dir)


def test_nothing_is_removed_without_prune(tree: Path, store: Path, support_dir: Path, converted: Counter[str]) -> None:
    before = store.read_bytes()
    (tree / "B" / "S" / "0003.npz").unlink()
    assert update(tree, store, support_dir) == Changes(0, 0, 7, 1, False)
    shutil.rmtree(tree / "A")
    assert update(tree, store, support_dir) == Changes(0, 0, 3, 5, False)
    assert store.read_bytes() == before
    assert update(tree, store, support_dir, prune=True) == Changes(0, 0, 3, 5, True)
    assert keys(store) == ["B/S/0000", "B/S/0001", "B/S/0002"]
    assert not converted
    assert_fresh(tree, store, support_dir)


def test_an_update_of_one_dataset_leaves_the_others_alone(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    write(tree / "A" / "S" / "new.npz", recording(40, 99))
    write(tree / "B" / "S" / "0000.npz", recording(40, 98))
    (tree / "B" / "S" / "0001.npz").unlink()
    assert update(tree, store, support_dir, datasets=["A"], prune=True) == Changes(1, 0, 8, 0, True)
    assert list(converted) == ["new.npz"]
    assert update(tree, store, support_dir, prune=True) == Changes(0, 1, 7, 1, True)
    assert_fresh(tree, store, support_dir)


@pytest.mark.parametrize("prune", [False, True])
def test_an_update_of_a_subset_leaves_all_else_alone(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str], prune: bool
) -> None:
    before = store.read_bytes()
    for subset in (Subset(sequence="0000"), Subset(limit=1), Subset(min_seconds=5), Subset(max_seconds=0.01)):
        changes = update(tree, store, support_dir, subset=subset, prune=prune)
        assert changes == Changes(0, 0, 8, 0, prune)
    assert not converted
    assert store.read_bytes() == before


def test_a_recording_that_is_damaged_by_now_keeps_its_joints(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str]
) -> None:
    before = store.read_bytes()
    (tree / "A" / "S" / "0001.npz").write_bytes(b"spam")
    report = build(tree, store, support_dir=support_dir, update=True, prune=True)
    assert [row.path for row in report.skipped] == ["A/S/0001.npz"]
    assert report.changes == Changes(0, 0, 8, 0, True)
    assert store.read_bytes() == before


def test_a_damaged_recording_is_tried_again(support_dir: Path, tmp_path: Path) -> None:
    good, bad = write_dataset(tmp_path / "amass", "D", 2, frames=40)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:5000] + b"\0" * 8 + whole[5008:])
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert [row.path for row in report.skipped] == [f"D/S/{bad.name}"]
    bad.write_bytes(whole)
    assert update(tmp_path / "amass", tmp_path / "s.h5", support_dir) == Changes(1, 0, 1, 0, False)
    assert keys(tmp_path / "s.h5") == ["D/S/0000", "D/S/0001"]
    assert good.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_rate": 25}, r"with --frame-rate 50, not 25; update it with the same, or .* --overwrite"),
        ({"native_rate": True}, r"with --frame-rate 50, not native"),
        ({"batch_size": 512}, r"with --batch-size 4096, not 512"),
        ({"use_dmpls": False}, r"without --no-dmpls, not with it"),
        ({"upsample": True}, r"without --upsample, not with it"),
        ({"compression": "lzf"}, r"with --compression none, not lzf"),
        ({"joint_regressor": "skeleton"}, r"with --joint-regressor h36m \(.*\), not .*skeleton"),
    ],
)
def test_an_option_that_differs_from_the_stores_is_refused_with_both_values(
    tree: Path, store: Path, support_dir: Path, converted: Counter[str], options: dict[str, Any], message: str
) -> None:
    before = store.read_bytes()
    with pytest.raises(BuildError, match=message) as refused:
        update(tree, store, support_dir, **options)
    assert str(refused.value).startswith(f"{store}: ")
    assert not converted
    assert store.read_bytes() == before
    assert not store.with_name("s.h5.parts").exists()


def test_options_that_are_not_given_are_the_stores(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "frame_rate": 25,
        "use_dmpls": False,
        "upsample": True,
        "batch_size": 512,
        "compression": "lzf",
        "joint_regressor": [f"h36m={support_dir / 'J_regressor_h36m.npy'}", "skeleton"],
    }
    build(tree, tmp_path / "s.h5", support_dir=support_dir, datasets=["A"], **options)
    assert update(tree, tmp_path / "s.h5", support_dir) == Changes(4, 0, 4, 0, False)
    assert update(tree, tmp_path / "s.h5", support_dir, **options) == Changes(0, 0, 8, 0, False)
    assert_fresh(tree, tmp_path / "s.h5", support_dir, **options)


def test_another_regressor_is_refused_with_both(tree: Path, store: Path, support_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "J_regressor_h36m.npy", 1.5 * np.load(support_dir / "J_regressor_h36m.npy"))
    with pytest.raises(
        BuildError, match=r"with --joint-regressor h36m \([0-9a-f]{12}\), not .*h36m.npy \([0-9a-f]{12}"
    ):
        update(tree, store, support_dir, joint_regressor=tmp_path / "J_regressor_h36m.npy")


def test_a_forgotten_vertex_map_is_refused_and_named(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    num_vertices = np.load(support_dir / "J_regressor_h36m.npy").shape[1]
    vertex_map = tmp_path / "map.npz"
    synthetic_map(vertex_map, num_vertices)
    build(tree, tmp_path / "s.h5", support_dir=support_dir, vertex_map=vertex_map)
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(BuildError, match="was built with --vertex-map; give the same file again"):
        update(tree, tmp_path / "s.h5", support_dir)
    assert (tmp_path / "s.h5").read_bytes() == before
    assert update(tree, tmp_path / "s.h5", support_dir, vertex_map=vertex_map) == Changes(0, 0, 8, 0, False)
    build(tree, tmp_path / "t.h5", support_dir=support_dir)
    with pytest.raises(BuildError, match=r"with --vertex-map none, not [0-9a-f]{12}"):
        update(tree, tmp_path / "t.h5", support_dir, vertex_map=vertex_map)


def synthetic_map(path: Path, num_vertices: int) -> None:
    """A map from vertices to one more of them."""
    import scipy.sparse

    scipy.sparse.save_npz(path, scipy.sparse.eye_array(num_vertices, num_vertices + 1, format="csr"))


@pytest.mark.parametrize("kind", ["smplh", "dmpls"])
def test_a_changed_body_model_converts_its_recordings_again(
    tree: Path, support_dir: Path, tmp_path: Path, converted: Counter[str], kind: str
) -> None:
    support = tmp_path / "support"
    shutil.copytree(support_dir, support, copy_function=os.symlink)
    build(tree, tmp_path / "s.h5", support_dir=support)
    path = support / "body_models" / kind / "male" / "model.npz"
    with np.load(path) as npz:
        arrays = dict(npz)
    arrays["v_template" if kind == "smplh" else "eigvec"] *= 1.01
    path.unlink()
    np.savez(path, **arrays)
    converted.clear()
    assert update(tree, tmp_path / "s.h5", support) == Changes(0, 4, 4, 0, False)
    assert converted == {"0000.npz": 2, "0002.npz": 2}  # the males of both datasets
    assert_fresh(tree, tmp_path / "s.h5", support)


def test_a_dataset_with_soft_tissue_does_not_touch_one_without(
    support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    write(tmp_path / "amass" / "A" / "S" / "a.npz", recording(100, dmpls=None))
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    write(tmp_path / "amass" / "B" / "S" / "b.npz", recording(100))
    converted.clear()
    assert update(tmp_path / "amass", tmp_path / "s.h5", support_dir) == Changes(1, 0, 1, 0, False)
    assert list(converted) == ["b.npz"]


def test_damaged_rows_of_the_old_store_are_not_taken_over(support_dir: Path, tmp_path: Path) -> None:
    tree, store = tmp_path / "amass", tmp_path / "s.h5"
    write_dataset(tree, "A", 3, frames=500)
    build(tree, store, support_dir=support_dir)
    whole = store.read_bytes()
    with Store(store) as opened:
        middle = opened.read(500, 501).tobytes()
    offset = whole.index(middle)
    damaged = whole[:offset] + b"\0\0\0\0" + whole[offset + 4 :]
    store.write_bytes(damaged)
    with pytest.raises(BuildError, match=r"s\.h5: its sequence A/S/000\d is damaged; build it again with --overwrite"):
        update(tree, store, support_dir)
    assert store.read_bytes() == damaged


@pytest.mark.parametrize("column", store_format.INDEX_COLUMNS)
def test_a_damaged_index_of_the_old_store_is_not_taken_over(support_dir: Path, tmp_path: Path, column: str) -> None:
    write_dataset(tmp_path / "amass", "D", 3, frames=10)
    path = tmp_path / "s.h5"
    build(tmp_path / "amass", path, support_dir=support_dir)
    damaged = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        offset = file[f"index/{column}"].id.get_offset()
    damaged[offset] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError):
        update(tmp_path / "amass", path, support_dir)
    assert path.read_bytes() == damaged


def test_a_link_to_a_store_stays_a_link(support_dir: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    (tmp_path / "disk").mkdir()
    (tmp_path / "s.h5").symlink_to(tmp_path / "disk" / "real.h5")
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    update(tmp_path / "amass", tmp_path / "s.h5", support_dir)
    assert (tmp_path / "s.h5").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.h5"]
    assert len(Store(tmp_path / "s.h5").sequences) == 2


def test_the_closing_line_counts_what_changed(
    tree: Path, store: Path, support_dir: Path, cli: Callable[..., Outcome]
) -> None:
    write(tree / "A" / "S" / "new.npz", recording(40, 99))
    write(tree / "A" / "S" / "0000.npz", recording(40, 98))
    (tree / "B" / "S" / "0003.npz").unlink()
    command = "build", tree, store, "--support-dir", support_dir, "--update", "--workers", 0
    (line,) = (line for line in cli(*command).stdout.splitlines() if "1 added" in line)
    assert "1 changed" in line
    assert "6 kept" in line
    assert "1 gone" in line
    assert "--prune" in line
