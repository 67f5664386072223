"""Runs on a CPU."""

from __future__ import annotations

import numpy as np

from h36m_amass.engine.run import Body, PendingPositions, Run, add_translation, gather


def begin(body: Body, run: Run) -> PendingPositions:
    """Compute a run at once, tile by tile: what one step writes is in the cache for the next."""
    skinner, rows = body.skinner, run.rows
    moving = skinner.moving_classes(run.poses)
    constants = body.constants(run, moving)
    of_run = skinner.constants.numpy()
    of_run[: len(constants), 0] = constants
    by_frame = skinner.workspace.by_frame.take((len(rows), run.poses.shape[1]), of_run.dtype)
    gather(run.poses, rows, by_frame)
    relative = np.empty((len(rows), 3 * skinner.folded.num_joints), by_frame.dtype)
    for start in range(0, len(rows), skinner.tile_size):
        frames = slice(start, min(start + skinner.tile_size, len(rows)))
        number = frames.stop - start
        batch = skinner.batch(number, moving, run.dmpls is not None)
        poses, dmpls, tile = batch.arrays
        for span in batch.spans:
            first, height = 3 * span.bones[0], 3 * span.bones[1]
            poses[first : first + height, :number] = by_frame[frames, span.column : span.column + height].T
            poses[first : first + height, number:] = 0.0
        if run.dmpls is not None:
            dmpls[:, :number] = run.dmpls.take(rows[frames], axis=0).T
            dmpls[:, number:] = 0.0
        batch.run()
        relative[frames] = tile[:, :number].T
    joints = run.between.interpolate(relative.reshape(len(rows), -1, 3))
    trans = run.between.interpolate(run.trans.take(rows, axis=0))
    shares = trans.astype(np.float64, copy=False) @ skinner.translation_matrix
    positions = tuple(add_translation(joints[:, a:b], shares[:, 3 * a : 3 * b]) for a, b in body.sets())
    return lambda: positions
