"""Human3.6M's files become a store whose joints are theirs, bit by bit; what is in them is never run."""

from __future__ import annotations

import hashlib
import json
import pickle
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_amass import import_human36m
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.update import StoredRows
from h36m_amass.errors import H36mAmassError
from h36m_amass.importing.human36m import Human36mError
from h36m_amass.store.errors import StoreError, UnknownKeyError
from h36m_amass.store.store import Store
from h36m_amass.synthetic import write_human36m
from h36m_amass.verification.store import verify
from tests.conftest import Outcome
from tests.fuzz import Edits, edits, mutated
from tests.human36m_files import (
    ACTIONS,
    GT_METADATA,
    IDS,
    JOINTS_OF_32,
    METADATA,
    NAMES,
    pickled,
    pixels,
    poses,
    write_npz,
)
from tests.setup.test_unpickling import Canary, code


@pytest.mark.parametrize("numpy_version", [1, 2])
def test_joints_are_those_of_the_file_by_name(tmp_path: Path, numpy_version: int) -> None:
    made = poses()
    path = write_npz(tmp_path / "data_3d_h36m.npz", numpy_version, positions_3d=made)
    assert (b"numpy.core.multiarray" in pickled(made, 1)) and (b"numpy.core.multiarray" not in pickled(made, 2))
    done = import_human36m(path, tmp_path / "s.h5")
    with Store(tmp_path / "s.h5") as store:
        keys = [(subject, action) for subject, actions in made.items() for action in actions]
        assert [sequence.key for sequence in store.sequences] == sorted("/".join(("Human36M", *key)) for key in keys)
        assert len(keys) == 8
        assert (done.sequences, done.frames, done.cut, done.without_3d) == (8, store.num_frames, {}, ())
        assert (store.frame_rate, store.cameras, store.header.synthetic) == (50.0, (), False)
        for subject, action in keys:
            sequence, expected = store[f"Human36M/{subject}/{action}"], made[subject][action]
            assert len(sequence) == ACTIONS[action]
            for name, joint in zip(NAMES, JOINTS_OF_32, strict=True):
                column = store.joint_names.index(name)
                np.testing.assert_array_equal(sequence.positions_3d[:, column], expected[:, joint])
            record = sequence.record
            assert record.source_path == f"data_3d_h36m.npz/{subject}/{action}"
            assert record.source_size == path.stat().st_size
            assert record.content_digest == hashlib.sha256(expected.tobytes()).hexdigest()
            assert record.checksum == zlib.crc32(np.asarray(sequence.positions_3d).tobytes())
    assert verify(tmp_path / "s.h5").findings == ()


def test_detections_lie_beside_the_poses_and_are_cut_where_these_end(tmp_path: Path) -> None:
    made = poses()
    detections = pixels(made, longer=3)
    detections["S11"]["Directions"] = detections["S1"]["Directions"]  # as in the real files, without motion capture
    data_3d = write_npz(tmp_path / "3d.npz", positions_3d=made)
    data_2d = write_npz(tmp_path / "2d.npz", 1, positions_2d=detections, metadata=METADATA)
    done = import_human36m(data_3d, tmp_path / "s.h5", detections=data_2d)
    assert done.without_3d == ("S11/Directions",)
    assert set(done.cut.items()) == {
        (f"{subject}/{action}/{IDS[3]}", 3) for subject, actions in made.items() for action in actions
    }
    with Store(tmp_path / "s.h5") as store:
        assert store.cameras == IDS
        for subject, actions in made.items():
            for action, positions in actions.items():
                sequence = store[f"Human36M/{subject}/{action}"]
                for camera, expected in zip(IDS, detections[subject][action], strict=True):
                    detected = sequence.detections_2d(camera)
                    assert len(detected) == len(positions)
                    for joint, name in enumerate(NAMES):
                        column = detected[:, store.joint_names.index(name)]
                        np.testing.assert_array_equal(column, expected[: len(positions), joint])
        with pytest.raises(UnknownKeyError, match="no detections of a camera '1'; it has 54138969"):
            store.read_detections("1", 0, 1)
        with pytest.raises(StoreError, match="has only"):
            store.read_detections(IDS[0], 0, store.num_frames + 1)
        assert list(store.with_joint_set("h36m").cameras) == list(IDS)
    assert verify(tmp_path / "s.h5").findings == ()


_SIDES = METADATA["keypoints_symmetry"]


@pytest.mark.parametrize("numpy_version", [1, 2])
@pytest.mark.parametrize(
    "metadata",
    [
        METADATA,
        GT_METADATA,
        {"keypoints_symmetry": np.array(_SIDES)},
        {"keypoints_symmetry": tuple(map(np.array, _SIDES))},
    ],
)
def test_the_layout_is_read_from_lists_and_arrays(tmp_path: Path, metadata: Any, numpy_version: int) -> None:
    """VideoPose3D's ``prepare_data_h36m.py`` saves lists of NumPy's integers; four cameras may be one array."""
    made = {"S1": {"WalkDog": poses()["S1"]["WalkDog"]}}
    detections = pixels(made)
    if metadata is METADATA:
        detections["S1"]["WalkDog"] = np.array(detections["S1"]["WalkDog"])
    data_3d = write_npz(tmp_path / "3d.npz", positions_3d=made)
    data_2d = write_npz(tmp_path / "2d.npz", numpy_version, positions_2d=detections, metadata=metadata)
    import_human36m(data_3d, tmp_path / "s.h5", detections=data_2d)
    assert Store(tmp_path / "s.h5").cameras == IDS


def _3d(change: Callable[[dict[str, Any]], Any]) -> Any:
    made = poses()
    change(made)
    return {"positions_3d": made}, None


def _2d(change: Callable[[dict[str, Any]], Any], **metadata: Any) -> Any:
    detections = pixels(poses())
    change(detections)
    return {"positions_3d": poses()}, {"positions_2d": detections, "metadata": {**METADATA, **metadata}}


def _nothing(content: Any) -> None: ...


def _normalize(detections: dict[str, Any]) -> None:
    for actions in detections.values():
        for action, cameras in actions.items():
            actions[action] = [np.ones_like(array) for array in cameras]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (({"positions_2d": {}}, None), r"3d.npz: has no array 'positions_3d'; give VideoPose3D's data_3d_h36m.npz"),
        (
            ({"positions_3d": poses()}, {"positions_3d": poses()}),
            "2d.npz: has no array 'positions_2d'; give VideoPose3D",
        ),
        (({"positions_3d": {}}, None), "its positions_3d have no subjects"),
        (({"positions_3d": [1, 2]}, None), "3d.npz: its positions_3d is not one object"),
        (({"positions_3d": b"no pickle"}, None), "3d.npz: is damaged, or not a pickle of arrays"),
        (_3d(lambda made: made.update(S2={})), "has 'S2' where a subject of Human3.6M should be; subjects are S1, S5"),
        (_3d(lambda made: made["S1"].update({"a/b": made["S1"]["WalkDog"]})), "S1 has 'a/b', which is not the name"),
        *(
            (_3d(lambda made, name=name: made["S1"].update({name: made["S1"]["WalkDog"]})), "not the name of an action")
            for name in ("", " ", "Sitting ", "a\nb", "a\udc80", "a" * 70_000, b"a")
        ),
        (_3d(lambda made: made["S9"].update(WalkDog="sit")), "3d.npz: its S9/WalkDog is not an array"),
        (_3d(lambda made: made["S9"].update(WalkDog=np.zeros((3, 17, 3)))), r"S9/WalkDog is float64 of shape \(3, 17"),
        (_3d(lambda made: made["S9"].update(WalkDog=np.zeros((0, 32, 3)))), r"of shape \(0, 32, 3\)"),
        (_3d(lambda made: made["S9"].update(WalkDog=np.zeros((3, 32, 3), int))), "must be floating-point numbers"),
        (_3d(lambda made: made["S9"].update(WalkDog=np.full((1, 32, 3), 1e300))), "not finite"),
        (_2d(lambda detections: detections["S9"].update(WalkDog=7)), "2d.npz: S9/WalkDog has no cameras"),
        (_2d(_normalize), "2d.npz: its detections are up to 1; they must be pixels, not normalized"),
        (_3d(lambda made: made["S9"].update(WalkDog=np.full((1, 32, 3), np.nan))), "not finite"),
        (
            _3d(lambda made: made["S9"].update(WalkDog=np.full((1, 32, 3), 900.0))),
            "up to 900 m away; positions must be",
        ),
        (_2d(lambda detections: detections.pop("S9")), "2d.npz: has no detections for S9/Directions"),
        (
            _2d(lambda detections: detections["S1"]["WalkDog"].pop()),
            "2d.npz: S1/WalkDog has 3 cameras; give detections of all 4",
        ),
        (
            _2d(
                lambda detections: detections["S1"].update(
                    {"Walking 1": [a[:60] for a in detections["S1"]["Walking 1"]]}
                )
            ),
            "S1/Walking 1/54138969 has 60 frames for 70 3D poses",
        ),
        (
            _2d(_nothing, keypoints_symmetry=[[1, 3], [2, 4]]),
            r"keypoints_symmetry are \[\[1, 3\], \[2, 4\]\], not the 17 joints of Human3.6M.*not those of COCO",
        ),
        (_2d(_nothing, keypoints_symmetry=7), r"are \[\[7\]\], not the 17 joints"),
        (_2d(_nothing, keypoints_symmetry=[7, 8]), r"are \[\[7\], \[8\]\], not the 17 joints"),
        (_2d(_nothing, keypoints_symmetry=None), "2d.npz: its keypoints_symmetry is not an array"),
        (_2d(_nothing, keypoints_symmetry=[[[1, 2]]]), r"are \[\[\[1, 2\]\]\], not the 17 joints"),
        (_2d(_nothing, keypoints_symmetry=[[4, "5"]]), "2d.npz: its keypoints_symmetry is not an array"),
        (
            ({"positions_3d": poses()}, {"positions_2d": pixels(poses())}),
            "2d.npz: has no metadata with keypoints_symmetry.*; give VideoPose3D's data_2d",
        ),
        (_2d(lambda detections: detections.update(S1=[])), "has 'S1' where a subject of Human3.6M should be"),
        (
            _2d(lambda detections: detections["S1"]["WalkDog"].insert(0, 7)),
            "2d.npz: S1/WalkDog has 5 cameras; give detections of all 4",
        ),
    ],
)
def test_files_of_another_form_are_refused_by_name(tmp_path: Path, contents: Any, message: str) -> None:
    data_3d, data_2d = contents
    paths = [write_npz(tmp_path / "3d.npz", **data_3d)]
    if data_2d is not None:
        paths.append(write_npz(tmp_path / "2d.npz", **data_2d))
    with pytest.raises(H36mAmassError, match=message) as caught:
        import_human36m(paths[0], tmp_path / "s.h5", detections=paths[1] if data_2d else None)
    assert "\n" not in str(caught.value)
    assert str(paths[-1]) in str(caught.value)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["positions_3d", "positions_2d", "metadata"])
def test_code_in_any_of_the_files_is_refused_and_nothing_runs(tmp_path: Path, name: str, protocol: int) -> None:
    """As in the test of that name of what ``setup`` reads."""
    marker, made = tmp_path / "marker", poses()
    contents = {"positions_3d": made, "positions_2d": pixels(made), "metadata": METADATA}
    for call, arguments in code(marker):
        for hostile in (Canary(call, *arguments), {"S1": {"WalkDog": Canary(call, *arguments)}}):
            content = pickle.dumps(np.array(hostile, dtype=object), protocol)
            changed = {**contents, name: content}
            data_3d = write_npz(tmp_path / "3d.npz", positions_3d=changed.pop("positions_3d"))
            data_2d = write_npz(tmp_path / "2d.npz", **changed)
            with pytest.raises(Human36mError, match="nothing in it was run"):
                import_human36m(data_3d, tmp_path / "s.h5", detections=data_2d)
    assert not marker.exists()
    assert not (tmp_path / "s.h5").exists()


@settings(max_examples=80)
@given(name=st.sampled_from(["positions_3d", "positions_2d", "metadata"]), changes=edits)
def test_no_change_of_a_file_is_more_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: Edits
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    small = {"S1": {"WalkDog": np.zeros((1, 32, 3), np.float32)}}
    contents: dict[str, Any] = {"positions_3d": small, "positions_2d": pixels(small), "metadata": METADATA}
    contents[name] = mutated(pickled(contents[name], 1), changes)
    data_3d = write_npz(folder / "3d.npz", positions_3d=contents.pop("positions_3d"))
    with suppress(H36mAmassError):
        import_human36m(data_3d, folder / "s.h5", detections=write_npz(folder / "2d.npz", **contents))
    if (folder / "s.h5").exists():
        assert all(len(sequence.positions_3d[:]) for sequence in Store(folder / "s.h5").sequences)


def test_a_store_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    data_3d = write_npz(tmp_path / "3d.npz", positions_3d=poses())
    store = tmp_path / "s.h5"
    import_human36m(data_3d, store)
    before = store.read_bytes()
    with pytest.raises(Human36mError, match=r"--overwrite \(in Python, overwrite=True\)"):
        import_human36m(data_3d, store)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_human36m(data_3d, store, overwrite=True, progress=stop)
    assert store.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3d.npz", "s.h5"]
    other = write_npz(tmp_path / "other.npz", positions_3d=poses(seed=5))
    import_human36m(other, store, overwrite=True)
    after = store.read_bytes()
    import_human36m(other, store, overwrite=True)
    assert before != after == store.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3d.npz", "other.npz", "s.h5"]


def test_a_store_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    paths = [tmp_path / "3d.npz", tmp_path / "2d.npz"]
    (tmp_path / "link.h5").symlink_to(paths[1])
    for path in paths:
        path.write_text("nothing that could be read")
    for store, message in (
        (tmp_path / "no" / "s.h5", "no/s.h5: its folder does not exist"),
        (tmp_path, "is a folder; give the name of a file, like .*h36m.h5"),
        (paths[0], "3d.npz: is a file to import"),
        (tmp_path / "link.h5", "link.h5: is a file to import"),
    ):
        with pytest.raises(Human36mError, match=message):
            import_human36m(paths[0], store, detections=paths[1], overwrite=True)


def test_plain_numbers_are_not_a_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "3d.npz", positions_3d=np.zeros((3, 32, 3)))
    with pytest.raises(H36mAmassError, match="'positions_3d' is an array of numbers or text, not a pickled dictionary"):
        import_human36m(tmp_path / "3d.npz", tmp_path / "s.h5")


def test_motion_capture_is_neither_updated_nor_compared_with_a_mesh(tmp_path: Path) -> None:
    import_human36m(write_npz(tmp_path / "3d.npz", positions_3d=poses()), tmp_path / "s.h5")
    with pytest.raises(BuildError, match="imported motion capture, which a build cannot update"):
        StoredRows(tmp_path / "s.h5", tmp_path)
    with pytest.raises(StoreError, match="imported motion capture, and no mesh"):
        verify(tmp_path / "s.h5", against=tmp_path)


def test_the_command_says_what_was_imported_and_what_was_not(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    made = poses()
    detections = pixels(made, longer=2)
    detections["S11"]["Directions"] = detections["S1"]["Directions"]
    data_3d = write_npz(tmp_path / "3d.npz", positions_3d=made)
    data_2d = write_npz(tmp_path / "2d.npz", positions_2d=detections, metadata=METADATA)
    done = cli("import-h36m", data_3d, tmp_path / "s.h5", "--detections", data_2d)
    assert done.exit_code == 0
    *_, first, cut, without = done.stdout.splitlines()
    assert first == f"{tmp_path / 's.h5'}: 8 sequences, 293 frames"
    assert cut.startswith("cut: 8 videos with detections after the end of the motion capture, up to 2 frames")
    assert without.endswith("S11/Directions")
    one = write_npz(tmp_path / "one.npz", positions_3d={"S1": {"WalkDog": made["S1"]["WalkDog"]}})
    assert "one.h5: 1 sequence, 1 frames" in cli("import-h36m", one, tmp_path / "one.h5").stdout
    again = cli("import-h36m", data_3d, tmp_path / "s.h5", "--verbose", "--overwrite", "--detections", data_2d)
    assert "S1/Walking 1/60457274: 2 frames after the end" in again.stderr
    assert cli("import-h36m", data_3d, tmp_path / "s.h5").exit_code == 1
    shown = cli("info", tmp_path / "s.h5").stdout
    assert "joints of motion capture, without a regressor" in shown
    assert f"detections    of the cameras {', '.join(IDS)}" in shown
    assert json.loads(cli("info", tmp_path / "s.h5", "--json").stdout)["store"]["cameras"] == list(IDS)
    for name in ("human36m", "Human3.6M", "H36M"):
        assert "3 sequences" in cli("info", tmp_path / "s.h5", f"{name}/S1").stdout


def test_what_is_made_up_says_so(tmp_path: Path) -> None:
    joints = np.random.default_rng(0).normal(size=(5, 17, 3)).astype(np.float32)
    write_human36m(tmp_path / "3d.npz", {"S5": {"Eating 2": joints}})
    import_human36m(tmp_path / "3d.npz", tmp_path / "s.h5")
    store = Store(tmp_path / "s.h5")
    assert store.header.synthetic
    columns = [store.joint_names.index(name) for name in NAMES]
    np.testing.assert_array_equal(store["Human36M/S5/Eating 2"].positions_3d[:, columns], joints)


def test_what_is_made_up_replaces_nothing_else(tmp_path: Path) -> None:
    real = write_npz(tmp_path / "data_3d_h36m.npz", positions_3d=poses())
    (tmp_path / "notes.txt").write_text("mine")
    for path in (real, tmp_path / "notes.txt"):
        before = path.read_bytes()
        with pytest.raises(FileExistsError, match=f"{path.name}: exists, and was not made up"):
            write_human36m(path, {})
        assert path.read_bytes() == before
    for joints in (np.zeros((5, 17, 3)), np.ones((4, 17, 3))):
        write_human36m(tmp_path / "made_up.npz", {"S5": {"Eating 2": joints}})
    assert import_human36m(tmp_path / "made_up.npz", tmp_path / "s.h5").frames == 4
