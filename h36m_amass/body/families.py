"""The families of body models that recordings are fitted with, and what is known of each.

SMPL: Loper et al., SIGGRAPH Asia 2015. SMPL+H: Romero et al., SIGGRAPH Asia 2017. SMPL-X: Pavlakos et al., CVPR 2019.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GENDERS = ("female", "male", "neutral")


@dataclass(frozen=True)
class Family:
    """Body models of one kind, one per gender: all that this library knows of them."""

    name: str  # as AMASS writes it into ``surface_model_type``; also the folder of its models
    title: str  # for people
    num_bones: int  # a recording's poses have three columns per bone, which is what tells it from others
    page: str
    file_names: tuple[str, ...]  # where a model may lie in the folder, the likeliest first
    has_dmpls: bool = True  # whether the DMPLs fit its mesh
    has_expressions: bool = False  # whether its shape directions are followed by those of the face's expression

    @property
    def num_pose_columns(self) -> int:
        return 3 * self.num_bones


SMPLH = Family(
    name="smplh",
    title="SMPL+H",
    num_bones=52,
    page="https://mano.is.tue.mpg.de (Extended SMPL+H model for AMASS)",
    file_names=("{gender}/model.npz",),
)
SMPLX = Family(
    name="smplx",
    title="SMPL-X",
    num_bones=55,
    page="https://smpl-x.is.tue.mpg.de (SMPL-X with removed head bun, NPZ: the one for AMASS)",
    file_names=("{gender}/model.npz", "SMPLX_{GENDER}.npz"),
    has_dmpls=False,
    has_expressions=True,
)
SMPL = Family(
    name="smpl",
    title="SMPL",
    num_bones=24,
    page="https://smpl.is.tue.mpg.de (SMPL for Python, a pickle that h36m-amass setup makes an .npz of)",
    file_names=("{gender}/model.npz", "SMPL_{GENDER}.npz"),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in (SMPLH, SMPLX, SMPL)}


@dataclass(frozen=True, order=True)
class BodyKind:
    """A body model, as a recording asks for it: a name of `FAMILIES`, one of `GENDERS`, and with soft tissue or not."""

    model: str
    gender: str
    has_dmpls: bool

    @property
    def title(self) -> str:
        """For people: ``SMPL+H (male)``."""
        return f"{FAMILIES[self.model].title} ({self.gender})"

    @property
    def files_key(self) -> str:
        """What stands for its files where their digest is recorded: ``male``, ``male+dmpls``, ``smplx/male`` ..."""
        family = "" if self.model == SMPLH.name else f"{self.model}/"
        return f"{family}{self.gender}{'+dmpls' if self.has_dmpls else ''}"
