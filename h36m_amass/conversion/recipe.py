"""Everything that the joints of all recordings of a build depend on, beside the recordings and body models."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from h36m_amass.body import regressor
from h36m_amass.body.joint_sets import SKELETON, JointSource, load_sources, num_vertices
from h36m_amass.body.regressor import VertexMap
from h36m_amass.conversion.options import BATCH_SIZE, FRAME_RATE, BuildError, BuildOptions
from h36m_amass.recordings import rates
from h36m_amass.recordings.rates import RateRules
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.store.format import StoreHeader

NUMERICS = 5
"""Version of the arithmetic: another number for each change of the software that changes the bits of joints."""
NUM_BETAS, NUM_DMPLS = 300, 8
"""The most directions of shape and soft tissue that are used; a body model may have fewer shape directions."""


@dataclass(frozen=True)
class Recipe:
    """How recordings become joints."""

    sources: tuple[JointSource, ...]  # the joint sets
    vertex_map: VertexMap | None  # from the regressor's mesh to others; None for none
    frame_rate: Fraction | None  # target frame rate in hertz; None for each recording's
    use_dmpls: bool  # as in `BuildOptions`
    upsample: bool
    known_rates: bool
    frame_rates: RateRules  # those of --frame-rates
    batch_size: int
    max_frames: int
    device_kind: str  # ``"cpu"``, or what `h36m_amass.system.devices` says of a GPU: another kind rounds differently

    @property
    def synthetic(self) -> bool:
        """Whether a regressor or the vertex map says that it was made up."""
        regressors = any(source.joints is not None and source.joints.synthetic for source in self.sources)
        return regressors or (self.vertex_map is not None and self.vertex_map.synthetic)

    def options(self) -> dict[str, Any]:
        """The options as a store keeps them."""
        return {
            "frame_rate": None if self.frame_rate is None else str(self.frame_rate),
            "use_dmpls": self.use_dmpls,
            "upsample": self.upsample,
            "known_rates": self.known_rates,
            "frame_rates_sha256": self.frame_rates.digest if self.frame_rates.all_keys() else None,
            "num_betas": NUM_BETAS,
            "num_dmpls": NUM_DMPLS if self.use_dmpls else 0,
            "batch_size": self.batch_size,
            "numerics": NUMERICS,
            "vertex_map_sha256": None if self.vertex_map is None else self.vertex_map.sha256,
        }

    @cached_property
    def rates(self) -> RateRules:
        """Frame rates that take the place of those in the recordings' files."""
        return rates.known() | self.frame_rates if self.known_rates else self.frame_rates

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that changes bits of joints."""
        content = [self.options(), self.rates.digest, [source.digest for source in self.sources], self.device_kind]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load(options: BuildOptions, stored: StoreHeader | None, device_kind: str, store: Path) -> Recipe:
    """The recipe of a build. Options that are not given are the defaults, or those of `stored`, the header of the
    `store` to update.

    Raises `BuildError` if an option differs from the store's, and the errors of the packages below for a wrong file.
    """
    kept: Mapping[str, Any] = {} if stored is None else stored.options
    for name, value in options.stored().items():
        if name in kept and kept[name] != value:
            option = "--no-dmpls" if name == "use_dmpls" else f"--{name.replace('_', '-')}"
            raise _differs(store, option, kept[name], value)
    sources, vertex_map = joint_sources(options, stored)
    recipe = of_options(options, sources, vertex_map, device_kind, kept)
    if stored is not None:
        _check_same(recipe, stored, store)
    return recipe


def of_options(
    options: BuildOptions,
    sources: tuple[JointSource, ...],
    vertex_map: VertexMap | None,
    device_kind: str,
    kept: Mapping[str, Any],
) -> Recipe:
    """The recipe of a build of these joint sets. Options that are not given are those of `kept`, or the defaults.

    Raises `RatesError` if the file of frame rates is wrong.
    """
    defaults = {"use_dmpls": True, "upsample": False, "known_rates": False, "batch_size": BATCH_SIZE}
    values = {**defaults, **kept, **options.stored()}
    rate = values.get("frame_rate", str(exact_rate(FRAME_RATE)))
    return Recipe(
        sources=sources,
        vertex_map=vertex_map,
        frame_rate=None if rate is None else Fraction(rate),
        use_dmpls=values["use_dmpls"],
        upsample=values["upsample"],
        known_rates=values["known_rates"],
        frame_rates=rates.NO_RULES if options.frame_rates is None else rates.load(Path(options.frame_rates)),
        batch_size=values["batch_size"],
        max_frames=options.max_frames,
        device_kind=device_kind,
    )


def joint_sources(
    options: BuildOptions, stored: StoreHeader | None = None
) -> tuple[tuple[JointSource, ...], VertexMap | None]:
    """The requested joint sets, or those of the store, and the vertex map; raises as what loads them does."""
    sources = _sources(options, stored)
    map_path = None if options.vertex_map is None else Path(options.vertex_map)
    vertex_map = None if map_path is None else regressor.load_map(map_path, num_vertices(sources))
    return tuple(source.with_sides(Path(options.support_dir), vertex_map) for source in sources), vertex_map


def _sources(options: BuildOptions, stored: StoreHeader | None) -> tuple[JointSource, ...]:
    """The requested joint sets, or those of the store that the support folder has."""
    support_dir = Path(options.support_dir)
    if options.joint_regressor is not None or stored is None:
        return load_sources(options.joint_regressor, options.joint_names, support_dir)
    files = [
        f"{one.name}={SKELETON if one.regressor_sha256 == SKELETON else support_dir / f'J_regressor_{one.name}.npy'}"
        for one in stored.joint_sets
    ]
    try:
        return load_sources(files, options.joint_names, support_dir)
    except regressor.RegressorError as error:
        names = ", ".join(joint_set.name for joint_set in stored.joint_sets)
        error.add_note(f"the store was built with {names}: give the same --joint-regressor again")
        raise


def _check_same(recipe: Recipe, stored: StoreHeader, store: Path) -> None:
    """Raise `BuildError` unless the store was built with the same regressors, vertex map and arithmetic."""
    sets = [(joint_set.name, joint_set.regressor_sha256) for joint_set in stored.joint_sets]
    for (name, digest), source in zip(sets, recipe.sources, strict=False):
        if (name, digest) != (source.name, source.digest):
            raise _differs(store, "--joint-regressor", f"{name} ({digest:.12})", f"{source.path} ({source.digest:.12})")
    if len(sets) != len(recipe.sources):
        raise _differs(store, "--joint-regressor", f"{len(sets)} joint sets", f"{len(recipe.sources)}")
    for joint_set, source in zip(stored.joint_sets, recipe.sources, strict=True):
        names = None if source.joints is None else source.joints.skeleton.joint_names
        if names not in (None, joint_set.skeleton.joint_names):
            raise _differs(store, "--joint-names", joint_set.skeleton.joint_names[0] + " ...", f"{names}")
    for name in ("vertex_map", "frame_rates"):
        digests = [options.get(f"{name}_sha256") for options in (stored.options, recipe.options())]
        if digests[0] != digests[1]:
            option = f"--{name.replace('_', '-')}"
            if digests[1] is None:
                raise BuildError(f"was built with {option}; give the same file again, or --overwrite", store)
            raise _differs(store, option, *(digest[:12] if digest else "none" for digest in digests))
    if stored.options.get("numerics") != NUMERICS:
        raise BuildError("was built by a version that rounds differently; build it again with --overwrite", store)


def _differs(store: Path, option: str, kept: object, value: object) -> BuildError:
    if isinstance(kept, bool):
        was, now = ("with", "without") if kept == (option != "--no-dmpls") else ("without", "with")
        differs = f"was built {was} {option}, not {now} it"
    else:
        shown = ["native" if rate is None else str(rate) for rate in (kept, value)]
        differs = f"was built with {option} {shown[0]}, not {shown[1]}"
    return BuildError(f"{differs}; update it with the same, or build it again with --overwrite", store)
