"""Keys of the sets that stand for BasicSR's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fsr_plugins.data.options import FaceDatasetOptions, RealFaceDatasetOptions, Roots

_LISTED = "only images of this list of BasicSR's: a file's name at the beginning of each line"
_LUMA = 'y: networks take and give the luma Y alone (BT.601, 16–235)'


class PairedImagesOptions(FaceDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.paired_images.PairedImages`."""

    dataroot_lq: Roots = Field(description='LR, paired by key: folder, *.lmdb or a list of them')
    meta_info_file: str | None = Field(None, description=_LISTED)
    color: Literal['y', 'rgb'] | None = Field(None, description=_LUMA)


class SingleImagesOptions(RealFaceDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.paired_images.SingleImages`."""

    meta_info_file: str | None = Field(None, description=_LISTED)
    color: Literal['y', 'rgb'] | None = Field(None, description=_LUMA)
