"""Presets: from windows in the world to what the networks that people train see, each a chain of transforms.

``docs/pairs.md`` says what each original does, and where a preset differs on purpose.
"""

from collections.abc import Callable
from typing import Literal

from h36m_amass.skeleton import Skeleton, root
from h36m_amass.training.cameras import Cameras, human36m
from h36m_amass.training.detection import Detect, Hide
from h36m_amass.training.projection import (
    FollowedByMirror,
    MirrorImage,
    Orthographic,
    PixelNoise,
    Project,
    RandomViews,
    RootRelative,
    StrideMask,
)
from h36m_amass.training.transforms import Compose
from h36m_amass.training.windows import Batch

Transform = Callable[[Batch], Batch]


def uplift_upsample(
    skeleton: Skeleton, *, training: bool = True, cameras: Cameras | Literal["own"] | None = None
) -> Compose:
    """Pairs as "Uplift and Upsample" pretrains on AMASS (Einfalt et al., WACV 2023).

    Windows of 71 frames with a dilation of 5, edge padding and joint order ``"uplift-upsample"``. In training each is
    followed by its mirror image, so a batch has twice as many; then one of the 28 cameras of Human3.6M sees it, chosen
    at random, or in validation always the same. Targets are relative to the pelvis, and ``stride_mask`` says which
    frames are seen. With ``cameras="own"`` windows of Human3.6M are seen by the cameras of their subject.
    """
    mirror = [FollowedByMirror(skeleton)] if training else []
    chain = (
        Project(human36m() if cameras is None else cameras, fixed=not training),
        RootRelative(root(skeleton)),
        StrideMask(training=training),
    )
    return Compose([*mirror, *chain])


def videopose3d(
    skeleton: Skeleton,
    *,
    training: bool = True,
    cameras: Cameras | Literal["own"] | None = None,
    noise_pixels: float = 0.0,
) -> Compose:
    """Pairs as VideoPose3D (Pavllo et al., CVPR 2019) and its family see Human3.6M's.

    Windows with edge padding and joint order ``"h36m"``. A camera of Human3.6M sees each; in training half of them are
    mirrored after that, with their cameras, and `noise_pixels` of Gaussian noise are added. Targets are relative to the
    pelvis, whose own place keeps its position in the camera's frame. With ``cameras="own"`` windows of Human3.6M are
    seen by the cameras of their subject, as VideoPose3D sees them, and the input is a detector's where the windows have
    detections.
    """
    by_chance: list[Transform] = [MirrorImage(skeleton), *([PixelNoise(noise_pixels)] if noise_pixels else [])]
    project = Project(human36m() if cameras is None else cameras, fixed=not training)
    return Compose([project, *(by_chance if training else []), RootRelative(root(skeleton), keep=True)])


def motionbert(skeleton: Skeleton, *, training: bool = True) -> Compose:
    """Pairs as MotionBERT (Zhu et al., ICCV 2023) pretrains on AMASS.

    Windows of 243 frames at 60 Hz, joint order ``"h36m"``. No camera; in training half of them are mirrored, and the
    input gets a detector's noise, confidences and masks. Targets are relative to the pelvis of each frame.
    """
    by_chance: list[Transform] = [MirrorImage(skeleton), Detect(skeleton), Hide()]
    return Compose([Orthographic(), *(by_chance if training else []), RootRelative(root(skeleton))])


def in_the_wild(skeleton: Skeleton, *, noise_pixels: float = 0.0) -> Compose:
    """Pairs from cameras anywhere around a person, as WHAM (Shin et al., CVPR 2024) places them, without distortion.

    Targets are relative to the pelvis of each frame; ``root`` is where it is in the camera's frame.
    """
    pelvis = root(skeleton)
    noise: list[Transform] = [PixelNoise(noise_pixels, RandomViews.size)] if noise_pixels else []
    return Compose([RandomViews(pelvis), *noise, RootRelative(pelvis)])
