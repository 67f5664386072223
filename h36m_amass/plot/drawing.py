"""Draw what is at a key of a store, as a picture, an animation or a contact sheet (extra ``plot``)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from h36m_amass.plot import PlotError
from h36m_amass.plot.animation import animate
from h36m_amass.plot.contact_sheet import draw_contact_sheet
from h36m_amass.plot.image import ImageCamera, draw_image
from h36m_amass.plot.picture import ANIMATIONS, PICTURES, ending
from h36m_amass.plot.poses import DEFAULT_POSES, draw_poses
from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store


def draw(
    store: Store,
    key: str | None = None,
    path: Path | str | None = None,
    *,
    contact_sheet: bool = False,
    num_poses: int | None = None,
    start: float = 0.0,
    seconds: float | None = None,
    camera: ImageCamera | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw the sequence at `key`, or a contact sheet of all that is at and below it; returns the files.

    Parameters
    ----------
    store
        A store, opened for the joint set to draw.
    key
        ``DATASET/SUBJECT/SEQUENCE``; for a contact sheet less of it, or None for all of the store.
    path
        File to write, whose ending says what: ``.png``, ``.pdf`` or ``.svg`` for poses or a contact sheet, ``.gif`` or
        ``.mp4`` for an animation. None for a PNG of the key's name in this folder. With `overwrite`, what is there is
        replaced.
    num_poses
        How many poses a picture of one sequence has.
    start, seconds
        Draw this much of one sequence from `start` on, both in seconds; None draws all the rest.
    camera
        Draw poses of one sequence in the frame of this camera's image, instead of from the front and the side.
    progress
        Called with the number of frames or sequences drawn so far, and of all.

    Raises `h36m_amass.plot.PlotError` if it cannot be drawn, or an option does not go with what is drawn, and
    `h36m_amass.store.errors.StoreError` if the store cannot be read, or has nothing at `key`.
    """
    if contact_sheet and (num_poses, start, seconds, camera) != (None, 0.0, None, None):
        options_of_one = "--poses, --start, --seconds and --camera are of one sequence"
        raise PlotError(f"{options_of_one}; omit --contact-sheet or them", store.shown_path)
    if key is None and not contact_sheet:
        raise PlotError(
            "which sequence is to be drawn? Give its KEY, or draw all with --contact-sheet", store.shown_path
        )
    key = None if key is None else key.strip("/")
    item = store if key is None else store[key]
    if path is None:
        title = store.path.stem if key is None else key
        name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "-" for c in title)
        path = f"{name}-contact-sheet.png" if contact_sheet else f"{name}.png"
    path = Path(path)
    if contact_sheet:
        if isinstance(item, StoredSequence):
            raise PlotError(f"{key}: is one sequence; give its dataset or subject for a contact sheet")
        title = store.path.name if key is None else key
        return draw_contact_sheet(item.sequences, path, title=title, overwrite=overwrite, progress=progress)
    if not isinstance(item, StoredSequence):
        raise PlotError(f"{key}: is not a sequence; add the name of one, or draw all of it with --contact-sheet")
    if ending(path, (*PICTURES, *ANIMATIONS), "a picture or an animation") in PICTURES:
        poses = DEFAULT_POSES if num_poses is None else num_poses
        options: dict[str, Any] = {"num_poses": poses, "start": start, "seconds": seconds, "overwrite": overwrite}
        if camera is None:
            draw_poses(item, path, **options)
        else:
            draw_image(item, path, camera, **options)
    elif camera is not None:
        raise PlotError("a camera's image is a picture; omit --camera, or name a .png", path)
    elif num_poses is not None:
        raise PlotError("an animation has all poses; omit --poses, or name a .png", path)
    else:
        animate(item, path, start=start, seconds=seconds, overwrite=overwrite, progress=progress)
    return [path]
