"""Nothing that was converted is converted again: interrupted builds, updated stores, what invalidates which unit."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h36m_amass import synthetic
from h36m_amass.conversion import convert as conversion
from h36m_amass.conversion import planning
from h36m_amass.conversion.builder import build
from h36m_amass.recordings.tree import find_sequences
from h36m_amass.store import footer as sealing
from h36m_amass.store import format as store_format
from h36m_amass.store.store import Store, StoreError
from tests.scenes import recording, write, write_dataset

UNIT_FRAMES = 1200


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", UNIT_FRAMES)


def fail_after(monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    """Let the build end, as if by Ctrl-C, when so many units are done."""
    convert = conversion._write_part
    done: list[int] = []

    def failing(workshop: Any, unit: planning.Unit, fingerprint: str) -> Path:
        if len(done) == units:
            raise KeyboardInterrupt
        done.append(unit.number)
        return convert(workshop, unit, fingerprint)

    monkeypatch.setattr(conversion, "_write_part", failing)


def plan_of(amass_dir: Path) -> planning.Plan:
    return planning.make_plan(amass_dir, find_sequences(amass_dir))


def unit_names(amass_dir: Path) -> list[set[str]]:
    """Files of each unit of the plan."""
    return [{Path(planned.file.path).name for planned in unit.sequences} for unit in plan_of(amass_dir).units]


def test_an_interrupted_build_converts_only_what_is_missing(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str]
) -> None:
    write_dataset(tmp_path / "amass", "D", 40)
    build(tmp_path / "amass", tmp_path / "whole.h5", support_dir=support_dir)
    units = unit_names(tmp_path / "amass")
    assert len(units) > 3
    with monkeypatch.context() as patch:
        fail_after(patch, len(units) - 1)
        with pytest.raises(KeyboardInterrupt) as stopped:
            build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert f"{len(units) - 1} converted parts are kept in {tmp_path / 's.h5.parts'}" in stopped.value.__notes__[0]
    converted.clear()
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert set(converted) == units[-1]
    assert report.reused == 40 - len(units[-1])
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amass", "s.h5", "whole.h5"]


def test_resuming_a_thousand_recordings_opens_only_those_that_are_missing(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str]
) -> None:
    first = write_dataset(tmp_path / "amass", "A", 1, frames=10)[0]
    for number in range(1, 990):
        first.with_name(f"a{number:04}.npz").hardlink_to(first)
    for path in write_dataset(tmp_path / "amass", "B", 10, frames=10):
        path.rename(path.with_name(f"b{path.name}"))
    with monkeypatch.context() as patch:
        fail_after(patch, sum(unit.sequences[0].file.dataset == "A" for unit in plan_of(tmp_path / "amass").units))
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert sum(converted.values()) == len(converted) == 10
    assert all(name.startswith("b") for name in converted)


def test_an_update_after_a_dataset_is_added_converts_that_alone(
    support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    write_dataset(tmp_path / "amass", "A", 30)
    write_dataset(tmp_path / "amass", "C", 30, seed=100)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    for path in write_dataset(tmp_path / "amass", "B", 20, seed=200):
        path.rename(path.with_name(f"new{path.name}"))
    converted.clear()
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert len(converted) == 20
    assert all(name.startswith("new") for name in converted)
    assert report.reused == 60
    build(tmp_path / "amass", tmp_path / "fresh.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_dataset_that_is_taken_away_is_gone_and_nothing_is_converted(
    support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    write_dataset(tmp_path / "amass", "A", 10)
    write_dataset(tmp_path / "amass", "B", 10, seed=50)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    shutil.rmtree(tmp_path / "amass" / "A")
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert not converted
    assert Store(tmp_path / "s.h5").datasets == ("B",)


@pytest.mark.parametrize("change", ["longer", "other values", "removed", "added"])
def test_a_recording_that_changes_costs_the_units_beside_it(
    support_dir: Path, tmp_path: Path, converted: Counter[str], change: str
) -> None:
    paths = write_dataset(tmp_path / "amass", "D", 120)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    units = unit_names(tmp_path / "amass")
    changed = paths[20]
    before = changed.stat()
    if change == "removed":
        changed.unlink()
    elif change == "added":
        write(changed.with_name("0020b.npz"), recording(500, 1000))
    else:
        write(changed, recording(500 if change == "longer" else 120 + 20 % 7, 1000))
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))  # the content counts, not the time
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    if change == "other values":
        assert set(converted) == next(unit for unit in units if changed.name in unit)
    assert 0 < len(converted) <= 60
    build(tmp_path / "amass", tmp_path / "fresh.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.parametrize(
    ("what", "again"),
    [
        ("nothing", []),
        ("male model", ["male"]),
        ("male dmpls", ["male"]),
        ("regressor", ["female", "male"]),
        ("frame rate", ["female", "male"]),
        ("batch size", ["female", "male"]),
        ("no dmpls", ["female", "male"]),
        ("workers", []),
        ("compression", []),
    ],
)
def test_what_changes_invalidates_what_depends_on_it(
    tmp_path: Path, converted: Counter[str], what: str, again: list[str]
) -> None:
    support, tree = tmp_path / "support", tmp_path / "amass"
    synthetic.write_support_data(support)
    for seed, gender in enumerate(("female", "male")):
        write(tree / gender / "S" / f"{gender}.npz", recording(100, seed, gender))
    build(tree, tmp_path / "s.h5", support_dir=support)
    options: dict[str, Any] = {
        "frame rate": {"frame_rate": 25},
        "batch size": {"batch_size": 512},
        "no dmpls": {"use_dmpls": False},
        "workers": {"workers": 2},
        "compression": {"compression": "lzf"},
    }.get(what, {})
    if what == "regressor":
        np.save(support / "J_regressor_h36m.npy", 1.5 * np.load(support / "J_regressor_h36m.npy"))
    if what.startswith("male"):
        path = support / "body_models" / {"male model": "smplh", "male dmpls": "dmpls"}[what] / "male" / "model.npz"
        with np.load(path) as npz:
            arrays = dict(npz)
        arrays["v_template" if what == "male model" else "eigvec"] *= 1.01
        np.savez(path, **arrays)
    converted.clear()
    build(tree, tmp_path / "s.h5", support_dir=support, update=True, **options)
    assert sorted(converted) == [f"{gender}.npz" for gender in again]
    build(tree, tmp_path / "fresh.h5", support_dir=support, **options)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_dataset_with_soft_tissue_does_not_touch_one_without(
    support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    write(tmp_path / "amass" / "A" / "S" / "a.npz", recording(100, dmpls=None))
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    write(tmp_path / "amass" / "B" / "S" / "b.npz", recording(100))
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert list(converted) == ["b.npz"]


def test_a_damaged_recording_is_tried_again_by_an_update(support_dir: Path, tmp_path: Path) -> None:
    good, bad = write_dataset(tmp_path / "amass", "D", 2)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:5000] + b"\0" * 8 + whole[5008:])
    assert build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir).left_out[0].path == f"D/S/{bad.name}"
    bad.write_bytes(whole)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert report.left_out == ()
    assert [sequence.key for sequence in Store(tmp_path / "s.h5").sequences] == ["D/S/0000", "D/S/0001"]
    assert good.exists()


def test_rehash_finds_what_was_damaged_in_place(support_dir: Path, tmp_path: Path) -> None:
    good, bad = write_dataset(tmp_path / "amass", "D", 2)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    content = bytearray(bad.read_bytes())
    content[5000] ^= 1
    bad.write_bytes(bytes(content))
    assert build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True).reused == 2
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True, rehash=True)
    assert [left.path for left in report.left_out] == [f"D/S/{bad.name}"]
    assert good.exists()


def test_a_part_of_a_recording_touched_since_is_not_used(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str]
) -> None:
    paths = write_dataset(tmp_path / "amass", "D", 40)
    units = unit_names(tmp_path / "amass")
    with monkeypatch.context() as patch:
        fail_after(patch, len(units) - 1)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    os.utime(paths[0], (1, 1))
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert set(converted) == units[0] | units[-1]


@pytest.mark.parametrize("damage", ["cut short", "one byte", "empty", "another's"])
def test_a_damaged_part_is_converted_again(
    support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: Counter[str], damage: str
) -> None:
    write_dataset(tmp_path / "amass", "D", 40)
    build(tmp_path / "amass", tmp_path / "whole.h5", support_dir=support_dir)
    units = unit_names(tmp_path / "amass")
    with monkeypatch.context() as patch:
        fail_after(patch, len(units) - 1)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    part, other = sorted((tmp_path / "s.h5.parts").glob("*.part"))[:2]
    content = part.read_bytes()
    part.write_bytes(
        {
            "cut short": content[:-40],
            "one byte": content[:999] + bytes([content[999] ^ 1]) + content[1000:],
            "empty": b"",
            "another's": other.read_bytes(),
        }[damage]
    )
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    assert len(converted) > len(units[-1])
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_damaged_rows_of_the_old_store_are_converted_again(
    support_dir: Path, tmp_path: Path, converted: Counter[str]
) -> None:
    write_dataset(tmp_path / "amass", "D", 40)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    whole = (tmp_path / "s.h5").read_bytes()
    middle = Store(tmp_path / "s.h5").read(400, 401).tobytes()
    place = whole.index(middle)
    (tmp_path / "s.h5").write_bytes(whole[:place] + b"\0\0\0\0" + whole[place + 4 :])
    converted.clear()
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert 0 < len(converted) < 40
    assert (tmp_path / "s.h5").read_bytes() == whole


@pytest.mark.parametrize("column", store_format.INDEX_COLUMNS)
def test_a_damaged_index_of_the_old_store_is_not_taken_over(support_dir: Path, tmp_path: Path, column: str) -> None:
    write_dataset(tmp_path / "amass", "D", 3, frames=10)
    path = tmp_path / "s.h5"
    build(tmp_path / "amass", path, support_dir=support_dir)
    whole = path.read_bytes()
    with h5py.File(path, "r+") as file:
        row = bytearray(file[f"index/{column}"][1].tobytes())
        row[0] ^= 1
        file[f"index/{column}"][1] = np.frombuffer(row, file[f"index/{column}"].dtype)[0]
    sealing.seal(path)  # where the damage is beyond the head, opening does not see it
    try:
        build(tmp_path / "amass", path, support_dir=support_dir, update=True)
    except StoreError as error:
        assert "its index is damaged" in str(error)
    else:
        assert path.read_bytes() == whole


def test_a_link_to_a_store_stays_a_link(support_dir: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "amass", "D", 2)
    (tmp_path / "disk").mkdir()
    (tmp_path / "s.h5").symlink_to(tmp_path / "disk" / "real.h5")
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert (tmp_path / "s.h5").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.h5"]
    assert len(Store(tmp_path / "s.h5").sequences) == 2
