"""The output of `info` agrees with the store's index and positions."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from h36m_amass.demo import Demo
from h36m_amass.skeleton import H36M, named
from h36m_amass.store import summary as describe
from h36m_amass.store.format import INDEX_COLUMNS, JointSet, SequenceRecord, StoreHeader
from h36m_amass.store.store import Store
from h36m_amass.store.writer import StoreWriter

Cli = Callable[..., Any]
SETS = JointSet("h36m", "r", H36M), JointSet("pair", "p", named(("a", "b")))


def write(path: Path, lengths: dict[str, int], compression: str = "none", rate: float = 50.0) -> Path:
    """A store of two joint sets."""
    writer, rng, start = StoreWriter(path, SETS, compression), np.random.default_rng(0), 0
    for number, (key, length) in enumerate(lengths.items()):
        # Noise and zeros by turns: chunks of a compressed store differ in size.
        noisy = (np.arange(start, start + length) // 200 % 2)[:, None, None]
        block = tuple(
            (noisy * rng.normal(size=(length, len(joint_set.skeleton), 3))).astype("f4") for joint_set in SETS
        )
        source = 2 * length, 100.0 + number, 100.0 + number, "smplh", "male", True, f"{key}.npz", 7, "d" * 64, 5
        writer.append(SequenceRecord(*key.split("/"), length, 50.0 + number, *source), [block], (number,))
        start += length
    writer.finish(StoreHeader("0", rate, {"male": "m"}, {}, False, SETS))
    writer.close()
    return path


LENGTHS = {"A/1/x": 3, "A/1/y": 600, "A/2/x": 1, "B/ü ñ/走る": 440, "B/z/q": 2}


def info(cli: Cli, *arguments: object) -> Any:
    outcome = cli("info", *arguments, "--json")
    assert outcome.exit_code == 0, outcome
    return json.loads(outcome.stdout)


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for below in node["below"]:
        yield from nodes(below)


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_the_bytes_of_all_sequences_are_those_of_the_file(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "s.h5", LENGTHS, compression)
    with Store(path) as store, h5py.File(path) as file:
        for joint_set in SETS:
            sizes = describe.sequence_bytes(store, joint_set.name)
            positions = file["positions_3d" if joint_set is SETS[0] else f"joint_sets/{joint_set.name}/positions_3d"]
            whole = positions.id.get_storage_size() if compression != "none" else positions.size * 4
            assert sizes.sum() == whole
            if compression == "none":
                np.testing.assert_array_equal(sizes, store.index.lengths * len(joint_set.skeleton) * 12)
            assert (sizes >= 0).all()
        both = sum(describe.sequence_bytes(store, joint_set.name) for joint_set in SETS)
        np.testing.assert_array_equal(describe.sequence_bytes(store), both)


@pytest.mark.parametrize("key", [None, "A", "B/ü ñ"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_each_level_of_the_tree_adds_up(cli: Cli, tmp_path: Path, compression: str, key: str | None) -> None:
    store = write(tmp_path / "s.h5", LENGTHS, compression)
    tree = info(cli, store, *filter(None, [key]))["tree"]
    for node in nodes(tree):
        if node["kind"] == "sequence":
            assert (node["sequences"], node["below"]) == (1, [])
            assert node["frames"] == LENGTHS[node["key"]]
            continue
        for name in ("sequences", "frames", "bytes"):
            assert node[name] == sum(below[name] for below in node["below"]), node["key"]
        assert math.isclose(node["seconds"], sum(below["seconds"] for below in node["below"]))
        prefix = "" if node["kind"] == "store" else node["key"] + "/"
        assert [below["key"] for below in node["below"]] == [prefix + below["name"] for below in node["below"]]
    leaves = [node["key"] for node in nodes(tree) if node["kind"] == "sequence"]
    assert leaves == [one for one in LENGTHS if key is None or one.startswith(f"{key}/")]


def test_json_agrees_with_the_index(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", LENGTHS)
    with Store(path) as store:
        for sequence in store.sequences:
            got = info(cli, path, sequence.key)["sequence"]
            assert {name: got[name] for name in INDEX_COLUMNS} == {
                name: store.index[name][sequence.row].item() for name in INDEX_COLUMNS
            }
            assert got["seconds"] == sequence.duration
            assert got["bytes"] == len(sequence) * (17 + 2) * 12
            for entry, name, checksum in zip(got["joint_sets"], ("h36m", "pair"), (5, sequence.row), strict=True):
                positions = store.with_joint_set(name).sequences[sequence.row].positions_3d[:]
                assert (entry["name"], entry["joints"], entry["checksum"]) == (name, positions.shape[1], checksum)
                assert entry["low"] == positions.min(axis=(0, 1)).tolist()
                assert entry["high"] == positions.max(axis=(0, 1)).tolist()
        whole = info(cli, path)
        assert whole["tree"]["frames"] == store.num_frames
        assert math.isclose(whole["tree"]["seconds"], (store.index.lengths / store.index["frame_rate"]).sum())
        assert whole["store"]["file_bytes"] == path.stat().st_size
        assert [joint_set["name"] for joint_set in whole["store"]["joint_sets"]] == ["h36m", "pair"]
        assert whole["store"]["joint_sets"][0]["parents"] == list(H36M.parents)


def test_a_joint_set_is_told_of_alone(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", LENGTHS)
    whole = info(cli, path, "--joint-set", "pair")
    assert [joint_set["name"] for joint_set in whole["store"]["joint_sets"]] == ["pair"]
    assert whole["tree"]["bytes"] == sum(LENGTHS.values()) * 2 * 12
    one = info(cli, path, "A/1/y", "--joint-set", "pair")["sequence"]
    assert [joint_set["name"] for joint_set in one["joint_sets"]] == ["pair"]
    assert one["checksum"] == one["joint_sets"][0]["checksum"] == 1
    assert "h36m" not in cli("info", path, "--joint-set", "pair").stdout.replace("h36m-amass", "")
    assert cli("info", path, "--joint-set", "spam").exit_code == 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_is_how_many_levels_are_shown(cli: Cli, tmp_path: Path, depth: int) -> None:
    path = write(tmp_path / "s.h5", LENGTHS)
    tree = info(cli, path, "--depth", depth)["tree"]
    assert {node["kind"] for node in nodes(tree)} == set(describe.LEVELS[: depth + 1])
    lines = cli("info", path, "--depth", depth).stdout.splitlines()
    shown = lines[next(n for n, line in enumerate(lines) if line.startswith("dataset")) + 1 :]
    names = [node["name"] for node in nodes(tree)][1:]
    assert [re.split(r"  +", re.sub(r"^[ │├└─]+", "", line))[0] for line in shown[: len(names)]] == names
    hidden = [line for line in shown if "not shown" in line]
    assert bool(hidden) == (depth < 3)
    assert all("5 sequences" in line for line in hidden)


def test_a_large_store_is_collapsed_and_every_number_is_there(cli: Cli, tmp_path: Path) -> None:
    lengths = {f"D{dataset}/{subject}/{q}": 1 for dataset in range(3) for subject in range(9) for q in range(4)}
    path = write(tmp_path / "s.h5", lengths)
    out = cli("info", path).stdout
    assert out.splitlines()[0].startswith(f"{path}: 3 datasets, 27 subjects, 108 sequences, 108 frames, ")
    assert "not shown: 108 sequences" in out
    root = describe.tree(Store(path))
    assert describe.fitting_depth(root) == 2
    assert sum(1 for _ in describe.flattened(root, 2)) == 3 + 27 <= describe.SHOWN_NODES < 3 + 27 + 108


def test_a_sequence_has_no_tree(cli: Cli, demo: Demo) -> None:
    assert cli("info", demo.store, "Pretend/s1/walk_poses", "--depth", 1).exit_code == 2


def test_overwrite_needs_something_to_replace(cli: Cli, demo: Demo) -> None:
    assert cli("info", demo.store, "--overwrite").exit_code == 2


def test_a_native_rate_is_null(cli: Cli, tmp_path: Path) -> None:
    assert info(cli, write(tmp_path / "s.h5", LENGTHS, rate=math.nan))["store"]["frame_rate"] is None


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_is_no_terminal_gets_no_colours_and_what_it_can_show(demo: Demo, encoding: str) -> None:
    program = "from h36m_amass.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", program, "info", str(demo.store)],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    assert b"\x1b" not in done.stdout
    assert ("└── walk_poses" if encoding == "utf-8" else "`-- walk_poses") in done.stdout.decode(encoding)


@pytest.mark.parametrize("key", [None, "Madeup", "Madeup/02"])
def test_an_overview_is_drawn_of_all_that_has_parts(cli: Cli, demo: Demo, tmp_path: Path, key: str | None) -> None:
    path = tmp_path / "overview.png"
    outcome = cli("info", demo.store, *filter(None, [key]), "--plot", path)
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-1] == f"picture       {path}"
    assert path.read_bytes().startswith(b"\x89PNG")
    again = cli("info", demo.store, "--plot", path)
    assert (again.exit_code, len(again.stderr.splitlines())) == (1, 1)
    assert "--overwrite" in again.stderr


def test_bars_of_an_overview_add_up_however_many_parts_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`write` gives each sequence a rate of its own; all bars are in seconds here."""
    from h36m_amass.plot import overview as plot_overview

    figures: list[Any] = []
    monkeypatch.setattr(plot_overview.picture, "save", lambda figure, _: figures.append(figure))
    lengths = {f"D{part}/s/q": 100 - part for part in range(plot_overview.MAX_BARS + 5)}
    with Store(write(tmp_path / "s.h5", lengths)) as store:
        whole = describe.tree(store)
        plot_overview.draw_overview(store, whole, tmp_path / "all.png")
    durations, _, rates = figures[0].axes
    longest = sorted((part.seconds for part in whole.below), reverse=True)
    for drawn, limit in (
        ([bar.get_width() for bar in durations.patches], plot_overview.MAX_BARS),
        ([bar.get_height() for bar in rates.patches], plot_overview.MAX_RATES),
    ):
        assert sum(drawn) == pytest.approx(whole.seconds)
        assert sorted(drawn[:-1], reverse=True) == pytest.approx(longest[:limit])


def test_a_sequence_has_no_overview(cli: Cli, demo: Demo, tmp_path: Path) -> None:
    outcome = cli("info", demo.store, "Pretend/s1/walk_poses", "--plot", tmp_path / "q.png")
    assert outcome.exit_code == 1
    assert "h36m-amass plot" in outcome.stderr
    assert list(tmp_path.iterdir()) == []
