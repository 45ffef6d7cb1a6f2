"""Images as BasicSR's option files name them: pairs of HR and LR, LR alone, lists of file names, luma."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import home_path
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.options import Keys
from fsr_plugins.data.paired_options import PairedImagesOptions, SingleImagesOptions
from fsr_plugins.data.real_dataset import RealFaceDataset
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import DATASET_REGISTRY
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.verify import verify


@DATASET_REGISTRY.register()
class PairedImages(FaceDataset):
    """Stored HR and LR, as BasicSR's ``PairedImageDataset``: for validation HR is cut to LR's size times the scale."""

    Options: ClassVar[type[PairedImagesOptions]] = PairedImagesOptions
    options: PairedImagesOptions

    def wanted(self, store: Store) -> Keys | None:
        """See :meth:`ImageDataset.wanted`; also those of ``meta_info_file``."""
        listed = self.options.meta_info_file
        return super().wanted(store) if listed is None else listed_keys(listed, store)

    def _check_pairs(self, stored: set[str]) -> None:
        if self.options.meta_info_file is None:
            super()._check_pairs(stored)
            return
        assert self.lq is not None
        lonely = [key for key in self._keys if self._partner(key) not in stored]
        if lonely:
            raise UserError(
                f"'{self.gt.where(lonely[0])}' has no LR image '{self._partner(lonely[0])}' in '{self.lq.place}' "
                f'({len(lonely)} of {len(self._keys)} have none); add it, or take it out of '
                f"'{self.options.meta_info_file}'."
            )

    @property
    def _cuts(self) -> bool:
        """Whether HR is cut to LR's size times the scale."""
        return not self.options.training

    def _lq_sizes(self) -> npt.NDArray[np.int32]:
        """Heights and widths of the LR images, int32 (len, 2)."""
        assert self.lq is not None
        place = {key: number for number, key in enumerate(self.lq.keys)}
        return self.lq.sizes()[[place[self._partner(key)] for key in self._keys]]

    def sizes(self) -> npt.NDArray[np.int32]:
        """See :meth:`ImageDataset.sizes`; of what is handed out, where HR is cut."""
        if self._cuts and self._sizes is None:
            self._sizes = self._lq_sizes() * np.int32(self.scale)
        return super().sizes()

    def used(self, place: int, image: Image) -> Image:
        """See :meth:`HRDataset.used`; as much as the LR shows, where HR is cut."""
        if not self._cuts:
            return image
        height, width = self.shape(place)
        return image[:height, :width]

    def check(self, scale: int) -> None:
        """See :meth:`FaceDataset.check`; where HR is cut, it must be large enough."""
        if not self._cuts:
            super().check(scale)
            return
        assert self.lq is not None
        sizes = verify(self.gt)[self.chosen]
        verify(self.lq)
        wrong = np.flatnonzero((sizes < self.sizes()).any(axis=1))
        if wrong.size:
            key, (height, width) = self.key(int(wrong[0])), self.sizes()[wrong[0]]
            raise UserError(
                f"'{self.gt.where(key)}' is smaller than its LR '{self.lq.where(self._partner(key))}' times the scale "
                f'{scale}, {width}x{height} (width x height); make it again, or correct the scale.'
            )
        self.check_edges()
        self.check_parsing()


@DATASET_REGISTRY.register()
class SingleImages(RealFaceDataset):
    """LR whose HR nobody knows, as BasicSR's ``SingleImageDataset``."""

    Options: ClassVar[type[SingleImagesOptions]] = SingleImagesOptions
    options: SingleImagesOptions

    def wanted(self, store: Store) -> Keys | None:
        """See :meth:`ImageDataset.wanted`; also those of ``meta_info_file``."""
        listed = self.options.meta_info_file
        return super().wanted(store) if listed is None else listed_keys(listed, store)


def check_pair_list(path: str) -> None:
    """Sees that each line of a list of BasicSR's ``RealESRGANPairedDataset`` names two files, ``gt.png, lq.png``.

    Args:
        path: of the list.

    Raises:
        UserError: it cannot be read, or a line does not.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The list '{path}' of 'meta_info' cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if len(line.strip().split(', ')) != 2:
            raise UserError(
                f"The list '{path}' of 'meta_info', line {number}: this is {shown(line)}, no pair of HR and "
                "LR 'gt.png, lq.png'."
            )


def listed_keys(path: str, store: Store) -> list[str]:
    """The keys of the images that a list of BasicSR names: ``0001_s001.png (480,480,3)``, a line each.

    Args:
        path: of the list.
        store: where the images are.

    Raises:
        UserError: it cannot be read, is empty, or names an image that is not there.
    """
    try:
        lines = home_path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The list '{path}' of 'meta_info_file' cannot be read: {error}.") from error
    names = [line.split(' ')[0] for line in lines if line.strip()]
    if not names:
        raise UserError(f"The list '{path}' of 'meta_info_file' is empty: write a file's name a line.")
    there = set(store.keys)
    # An LMDB of BasicSR's has keys that end at the first dot.
    whole = (str(PurePosixPath(name).with_suffix('')) for name in names)
    keys = [key if key in there else key.split('.')[0] for key in whole]
    lost = [name for name, key in zip(names, keys, strict=True) if key not in there]
    if lost:
        raise UserError(
            f"The list '{path}' of 'meta_info_file' names '{lost[0]}', which '{store.place}' does not hold "
            f"({len(lost)} of {len(names)}). Names below folders need 'recursive: true'."
        )
    return keys
