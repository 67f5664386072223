"""The picture beside the viewer's scene is what the camera sees."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from h36m_amass.plot.image import ImageCamera
from h36m_amass.plot.picture import colours_of
from h36m_amass.skeleton import H36M, side
from h36m_amass.training.cameras import human36m, looking_at, seen_in_pixels

pytest.importorskip("viser")


def test_bones_are_where_the_camera_sees_them_in_the_colours_of_their_sides() -> None:
    from h36m_amass.viewer.image import WIDTH, camera_image

    camera = human36m(["S1"], ["54138969"])
    seen = ImageCamera(camera.names[0], (1000.0, 1002.0), partial(seen_in_pixels, camera))
    pose = np.random.default_rng(0).normal(scale=0.3, size=(17, 3)) + np.array((0, 0, 1))
    picture = camera_image(pose, H36M, seen)
    assert picture.shape == (round(1002 * WIDTH / 1000), WIDTH, 3)
    pixels = seen_in_pixels(camera, pose)[0] * WIDTH / 1000
    assert {side(H36M, joint) for joint in (1, 4, 7)} == {"left", "right", "middle"}
    for joint in (3, 6, 10):  # ends, where one bone is
        x, y = pixels[joint].round().astype(int)
        near = picture[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3)
        assert (near == colours_of(H36M)[joint]).all(axis=1).any()
    away = looking_at((0, -4, 1), (0, -8, 1), 500, (1000, 1000))
    behind = camera_image(pose, H36M, ImageCamera("away", (1000.0, 1000.0), partial(seen_in_pixels, away)))
    assert (behind[1:-1, 1:-1] == 255).all()
