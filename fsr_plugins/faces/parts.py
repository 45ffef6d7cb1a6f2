"""The parts of a face in a parsing map, and other orders of their ids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: CelebAMask-HQ's 19 classes by id, in the order of the BiSeNet trained on them (face-parsing.PyTorch) and of every map
#: here. Left and right are the subject's. The dataset's own script merges its masks in :data:`DATASET_ORDER` instead.
PARTS = (
    'background',
    'skin',
    'l_brow',
    'r_brow',
    'l_eye',
    'r_eye',
    'eye_g',
    'l_ear',
    'r_ear',
    'ear_r',
    'nose',
    'mouth',
    'u_lip',
    'l_lip',
    'neck',
    'neck_l',
    'cloth',
    'hair',
    'hat',
)

#: The order of CelebAMask-HQ's own ``g_mask.py``, which ParseNet (PSFRGAN, facexlib) was trained with.
DATASET_ORDER = (
    'background',
    'skin',
    'nose',
    'eye_g',
    'l_eye',
    'r_eye',
    'l_brow',
    'r_brow',
    'l_ear',
    'r_ear',
    'mouth',
    'u_lip',
    'l_lip',
    'hair',
    'hat',
    'ear_r',
    'neck_l',
    'neck',
    'cloth',
)


def to_parts(order: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """A table (len(order),) from ids in ``order`` to ids in :data:`PARTS`: ``table[map]`` translates a map."""
    return np.array([PARTS.index(name) for name in order], dtype=np.uint8)
