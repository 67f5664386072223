"""What a camera sees of a pose, as a small picture for the viewer's panel (extra ``view``)."""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from h36m_amass.plot.image import ImageCamera
from h36m_amass.plot.picture import colours_of
from h36m_amass.skeleton import Skeleton, bones

WIDTH = 480  # pixels of the picture, whatever the camera's are
_LINE, _PAPER, _EDGE = 4, (255, 255, 255), (160, 160, 160)


def camera_image(
    pose: Float[np.ndarray, "joints 3"], skeleton: Skeleton, camera: ImageCamera
) -> UInt8[np.ndarray, "height width 3"]:
    """The bones of a pose as the camera sees them, left blue and right red; nothing if it is not in front of it."""
    pixels, depths = camera.project(pose[None])
    scale = WIDTH / camera.size[0]
    picture = Image.new("RGB", (WIDTH, round(camera.size[1] * scale)), _PAPER)
    draw = ImageDraw.Draw(picture)
    if (depths > 0).all():
        colours, points = colours_of(skeleton), pixels[0] * scale
        far_first = sorted(bones(skeleton).tolist(), key=lambda bone: -depths[0, bone].sum())
        for bone in far_first:
            draw.line([tuple(points[joint]) for joint in bone], fill=tuple(colours[bone[1]].tolist()), width=_LINE)
    draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=_EDGE)
    return np.asarray(picture)
