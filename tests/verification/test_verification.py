"""`verify`: a clean store passes, and every kind of damage is found."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal.isal_zlib import crc32

from h36m_amass import verify
from h36m_amass.body.model import BodyModelError
from h36m_amass.body.regressor import RegressorError
from h36m_amass.conversion.builder import build
from h36m_amass.demo import Demo
from h36m_amass.store import footer
from h36m_amass.store.errors import StoreError
from h36m_amass.store.store import Store
from h36m_amass.store.writer import StoreWriter
from h36m_amass.verification import store as verification
from h36m_amass.verification.mesh import SAMPLED_FRAMES
from tests.corpus.stores import options_of
from tests.scenes import recording, write, write_dataset
from tests.store.test_store import HEADER, record

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three sequences of a body that stands still. Not to be written to."""
    path = tmp_path_factory.mktemp("whole") / "s.h5"
    writer = StoreWriter(path, HEADER.joint_sets)
    body = np.random.default_rng(0).normal(scale=0.2, size=(1, 17, 3)).astype("<f4")
    for number in range(3):
        positions = np.repeat(body, 125, axis=0)
        checksum = crc32(positions.tobytes())
        writer.append(replace(record(f"D/S/{number:04}", 125), checksum=checksum), [(positions,)])
    writer.finish(HEADER)
    writer.close()
    return path


@pytest.fixture(scope="module")
def converted(support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store, beside the folder ``amass`` that it was built from. Not to be written to."""
    folder = tmp_path_factory.mktemp("converted")
    write_dataset(folder / "amass", "D", 3, frames=60)
    build(folder / "amass", folder / "s.h5", support_dir=support_dir)
    return folder / "s.h5"


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "s.h5"))


def change(path: Path, edit: Callable[[h5py.File], Any]) -> Path:
    """Change a store through HDF5, and give it a new footer, so that only its content shows the change."""
    with h5py.File(path, "r+") as file:
        edit(file)
    footer.write(path)
    return path


def test_the_demo_agrees_with_the_full_mesh(demo: Demo) -> None:
    result = verify(demo.store, against=demo.amass_dir, support_dir=demo.support_dir)
    assert result.findings == ()
    assert (result.sequences, result.frames) == (12, Store(demo.store).num_frames)
    assert 0 < result.compared_frames <= SAMPLED_FRAMES  # fewer where a frame was drawn twice
    assert 0 < result.percentile_99_9 <= result.largest < 2e-6


def test_the_real_recording_agrees_with_the_full_mesh(real_amass: Path, support_dir: Path, tmp_path: Path) -> None:
    build(real_amass, tmp_path / "s.h5", support_dir=support_dir)
    result = verify(tmp_path / "s.h5", against=real_amass, support_dir=support_dir)
    assert result.findings == ()
    assert result.largest < 2e-6


@pytest.mark.parametrize("options", [{"frame_rate": None}, {"frame_rate": 59.94, "use_dmpls": False}])
def test_other_options_agree_with_the_full_mesh(
    amass_dir: Path, support_dir: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    build(amass_dir, tmp_path / "s.h5", support_dir=support_dir, **options)
    result = verify(tmp_path / "s.h5", against=amass_dir, support_dir=support_dir, sample=60)
    assert result.findings == ()
    assert result.largest < 2e-6


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_byte_anywhere_is_found(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "s.h5").write_bytes(content)
    assert verify(tmp_path / "s.h5").findings


@pytest.mark.parametrize("offset", [1e-4, 2e-5])
def test_a_store_that_is_off_by_a_hundredth_of_a_millimetre_is_found(
    converted: Path, support_dir: Path, tmp_path: Path, offset: float
) -> None:
    copy = Path(shutil.copy(converted, tmp_path / "s.h5"))

    def edit(file: h5py.File) -> None:
        file["positions_3d"][..., 0] += np.float32(offset)

    result = verify(change(copy, edit), quick=True, against=converted.parent / "amass", support_dir=support_dir)
    assert result.largest == pytest.approx(offset, rel=0.1)
    assert any("differs from the full mesh by up to" in finding for finding in result.findings)


def test_percentiles_are_numpys(converted: Path, support_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = np.random.default_rng(0).exponential(1e-7, size=(400, 17))
    monkeypatch.setattr(verification.Comparison, "run", lambda *_: verification.Deviations((), distances))
    result = verify(converted, quick=True, against=converted.parent / "amass", support_dir=support_dir)
    assert result.percentile_99_9 == np.percentile(distances, 99.9)
    assert (result.largest, result.compared_frames) == (distances.max(), 400)


def test_a_frame_that_is_not_a_number_is_named_in_any_block(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BLOCK_FRAMES", 7)

    def edit(file: h5py.File) -> None:
        file["positions_3d"][125 + 23, 4, 1] = np.nan

    assert any("D/S/0001: frame 23 holds" in finding for finding in verify(change(copy, edit)).findings)


def test_every_sequence_whose_bytes_changed_is_named(copy: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["positions_3d"][150, 4, 1] += 0.001

    (finding,) = verify(change(copy, edit)).findings
    assert "D/S/0001: its positions do not have the checksum" in finding


@pytest.mark.parametrize("length", [-1, -500, 70_000, 100, 0])
def test_a_truncated_store_is_found(copy: Path, length: int) -> None:
    copy.write_bytes(copy.read_bytes()[:length])
    assert verify(copy).findings
    assert verify(copy, quick=True).findings or length == -1


def test_a_store_that_another_program_wrote_to_is_found(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs["note"] = "mine"
    (finding,) = verify(copy).findings
    assert "has no footer" in finding
    assert Store(copy).num_frames > 0


def swap_names(file: h5py.File) -> None:
    names = file["index/sequence"][:]
    file["index/sequence"][:2] = names[[1, 0]]


def swap_rows(file: h5py.File) -> None:
    for column in file["index"].values():
        values = column[:]
        column[:2] = values[[1, 0]]


def not_a_number(file: h5py.File) -> None:
    """With a checksum that fits."""
    first, length = int(file["index/start"][1]), int(file["index/length"][1])
    positions = file["positions_3d"][first : first + length]
    positions[3, 2, 1] = np.nan
    file["positions_3d"][first : first + length] = positions
    file["index/checksum"][1] = crc32(positions.tobytes())


def stretched(file: h5py.File) -> None:
    length = int(file["index/length"][0])
    positions = file["positions_3d"][:length]
    positions[5, 3] += 2.0
    file["positions_3d"][:length] = positions
    file["index/checksum"][0] = crc32(positions.tobytes())


def moved(file: h5py.File) -> None:
    """All joints, by a quarter of a metre, with a checksum that fits."""
    positions = file["positions_3d"][:] + np.float32([0, 0.25, 0])
    file["positions_3d"][:] = positions
    file["index/checksum"][0] = crc32(positions.tobytes())


def view_of_others(file: h5py.File) -> None:
    group = file["sequences/D/S"]
    group.move("0000", "x")
    group.move("0001", "0000")
    group.move("x", "0001")


def view_of_another_file(file: h5py.File) -> None:
    del file["sequences/D/S/0000/positions_3d"]
    layout = h5py.VirtualLayout((int(file["index/length"][0]), 17, 3), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "positions_3d", layout.shape)
    file["sequences/D/S/0000"].create_virtual_dataset("positions_3d", layout)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (swap_names, "out of order"),
        (swap_rows, "do not make up the frames"),
        (not_a_number, "frame 3 holds values that are not numbers"),
        (stretched, "the bone to left_ankle is from"),
        (view_of_others, "the view of D/S/0000 shows rows"),
        (view_of_another_file, "takes its values from other.h5"),
        (lambda file: file["sequences/D"].pop("S"), "the view of D/S/0000 is missing"),
        (lambda file: file["index/length"].write_direct(np.array([126, 124, 125])), "its index is damaged|checksum"),
        (lambda file: file["extents"].__setitem__((1, 0), file["extents"][1, 0] + 204), "are not those of its chunks"),
        (lambda file: file["index"].pop("checksum"), "its index is damaged"),
        (lambda file: file.attrs.__setitem__("synthetic", False), "its attribute synthetic is not"),
        (lambda file: file.attrs.__setitem__("frame_rate", np.nan), "its attribute frame_rate is not"),
        (lambda file: file.attrs.__delitem__("options"), "its attribute options is not"),
        (lambda file: file["index/frame_rate"].__setitem__(0, 51.0), "not all at 50 Hz"),
    ],
)
def test_what_a_store_says_wrongly_is_found(copy: Path, edit: Callable[[h5py.File], Any], reason: str) -> None:
    findings = verify(change(copy, edit)).findings
    assert findings
    assert any(re.search(reason, finding) for finding in findings), findings
    assert all(str(copy) in finding and "\n" not in finding for finding in findings)


def test_bones_of_a_clean_store_do_not_stretch(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(demo.store).findings == ()
    monkeypatch.setattr(verification, "STRETCH", 1.0)
    assert any("bones do not stretch" in finding for finding in verify(demo.store).findings)


def test_quick_reads_no_frames(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(file: h5py.File) -> None:
        file["positions_3d"][0] = np.nan

    change(copy, edit)
    assert verify(copy).findings
    monkeypatch.setattr(Store, "read", lambda *_: pytest.fail("frames were read"))
    assert verify(copy, quick=True).findings == ()


def test_a_store_that_disagrees_with_the_mesh_fails(support_dir: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "amass" / "D" / "S" / "a.npz", recording(200))
    build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    changed = change(Path(shutil.copy(tmp_path / "s.h5", tmp_path / "t.h5")), moved)
    result = verify(changed, against=tmp_path / "amass", support_dir=support_dir)
    assert result.findings == (f"{changed}: differs from the full mesh by up to 0.25 m; build it again",)
    assert result.largest == pytest.approx(0.25, abs=1e-5)
    write(path, recording(200, seed=1))
    result = verify(tmp_path / "s.h5", against=tmp_path / "amass", support_dir=support_dir)
    assert "is not the recording that the store was built from" in result.findings[0]
    path.rename(path.with_name("b.npz"))
    result = verify(tmp_path / "s.h5", against=tmp_path / "amass", support_dir=support_dir)
    assert "a.npz: there is no such recording any more" in result.findings[0]


def test_a_rate_that_would_give_other_frames_is_a_finding_and_no_frames_are_made(
    converted: Path, support_dir: Path, tmp_path: Path
) -> None:
    changed = change(Path(shutil.copy(converted, tmp_path / "s.h5")), options_of(frame_rate="9" * 30))
    result = verify(changed, against=converted.parent / "amass", support_dir=support_dir)
    assert result.compared_frames == 0
    assert len(result.findings) == 3
    assert all("frames, and the store has" in finding for finding in result.findings)


def test_what_comparing_needs_is_asked_for_before_anything_is_looked_at(
    converted: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footer, "check_all", lambda *_: pytest.fail("the store was read"))
    against, copy = converted.parent / "amass", Path(shutil.copy(converted, tmp_path / "s.h5"))
    support = Path(shutil.copytree(support_dir, tmp_path / "support", copy_function=os.symlink))
    (support / "body_models" / "smplh" / "female" / "model.npz").unlink()
    with pytest.raises(BodyModelError, match=r"female.model\.npz"):
        verify(converted, against=against, support_dir=support)
    regressor = tmp_path / "other.npy"
    np.save(regressor, np.load(support_dir / "J_regressor_h36m.npy")[:, :-1])
    with pytest.raises(RegressorError, match="is for a mesh of"):
        verify(converted, against=against, support_dir=support_dir, joint_regressor=regressor)
    change(copy, options_of(vertex_map_sha256="abcdef" * 10))
    with pytest.raises(RegressorError, match=r"vertex map .SHA-256 abcdefabcdef.*give it with --vertex-map"):
        verify(copy, against=against, support_dir=support_dir, joint_regressor=regressor)


def test_another_regressor_or_body_model_is_named(converted: Path, support_dir: Path, tmp_path: Path) -> None:
    support = Path(shutil.copytree(support_dir, tmp_path / "support", copy_function=os.symlink))
    (support / "J_regressor_h36m.npy").unlink()
    np.save(support / "J_regressor_h36m.npy", np.load(support_dir / "J_regressor_h36m.npy"))
    model = support / "body_models" / "dmpls" / "male" / "model.npz"
    with np.load(model) as npz:
        arrays = {name: npz[name] for name in reversed(npz.files)}
    model.unlink()
    np.savez(model, **arrays)
    findings = verify(converted, against=converted.parent / "amass", support_dir=support).findings
    assert any("another regressor" in finding for finding in findings)
    assert any("another male+dmpls body model" in finding for finding in findings)


def test_the_command_says_ok_or_fails(cli: Cli, copy: Path, converted: Path, support_dir: Path) -> None:
    outcome = cli("verify", converted, "--against", converted.parent / "amass", "--support-dir", support_dir)
    assert outcome.exit_code == 0
    assert "99.9 percent are below" in outcome.stdout
    assert outcome.stdout.endswith("ok: 3 sequences, 75 frames\n")
    copy.write_bytes(copy.read_bytes()[:-1])
    outcome = cli("verify", copy)
    assert outcome.exit_code == 1
    assert outcome.stdout.startswith(f"problem: {copy}: has no footer")
    assert outcome.stderr.splitlines()[-1] == "error: 1 finding, see above"
    outcome = cli("verify", copy.with_name("none.h5"))
    assert outcome.exit_code == 1
    assert "there is no such store" in outcome.stderr


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        verify(tmp_path / "none.h5")
