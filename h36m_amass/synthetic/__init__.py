"""Made-up body models and motions in the real formats, for tests, benchmarks and the demonstration.

The real ones are licensed downloads. `anatomy` is the invented person, `body` the models made of it,
`movements` how it moves, `motion` the recordings, `relatives` models and recordings of SMPL-X and SMPL,
`human36m` motion capture in the form of Human3.6M's.
"""

from h36m_amass.synthetic.anatomy import GENDERS, JOINT_NAMES, PARENTS
from h36m_amass.synthetic.body import (
    SYNTHETIC_NOTE,
    body_model,
    dmpl_model,
    joint_regressor,
    write_regressor,
    write_support_data,
)
from h36m_amass.synthetic.human36m import as_motion_capture, write_human36m
from h36m_amass.synthetic.motion import KINDS, motion, write_amass_tree, write_recording
from h36m_amass.synthetic.relatives import (
    as_smpl,
    as_smplx,
    smpl_model,
    smplx_joint_regressor,
    smplx_model,
    write_smpl_support,
    write_smplx_support,
)

__all__ = ["GENDERS", "JOINT_NAMES", "KINDS", "PARENTS", "SYNTHETIC_NOTE"]
__all__ += ["as_motion_capture", "as_smpl", "as_smplx", "body_model", "dmpl_model", "joint_regressor", "motion"]
__all__ += ["smpl_model", "smplx_joint_regressor", "smplx_model", "write_amass_tree", "write_human36m"]
__all__ += ["write_recording", "write_regressor", "write_smpl_support", "write_smplx_support", "write_support_data"]
