"""The datasets: HR faces with or without stored LR, with unpaired real LR, and of two domains together.

LR that is not stored is made from HR in batches on the device (see ``degradations``). LR without HR: ``real_dataset``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np

from fsr_plugins.data.augment import draw_corner
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.image_dataset import Arrays, Sample, Slot, write
from fsr_plugins.data.options import Block, FaceDatasetOptions, SourceTargetDatasetOptions, UnpairedFaceDatasetOptions
from fsr_plugins.data.unpaired import UnpairedSource
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DATASET_REGISTRY
from fsr_plugins.stores.verify import check_minimum, verify


@DATASET_REGISTRY.register()
class FaceDataset(HRDataset):
    """HR faces, and their LR where it is stored (``dataroot_lq``, paired by key, cut and turned alike)."""

    Options: ClassVar[type[FaceDatasetOptions]] = FaceDatasetOptions
    options: FaceDatasetOptions
    has_gt: ClassVar[bool] = True

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        root = self.options.dataroot_lq
        self.lq = self.open_root(root) if root is not None else None
        if self.lq is not None:
            self._check_pairs(set(self.lq.keys))

    def _check_pairs(self, stored: set[str]) -> None:
        assert self.lq is not None
        partners = {self._partner(key): key for key in self.gt.keys}
        lonely = sorted(set(partners) - stored)
        if lonely:
            raise UserError(
                f"'{self.gt.where(partners[lonely[0]])}' has no LR image '{lonely[0]}' in '{self.lq.place}' "
                f'({len(lonely)} of {len(partners)} have none); add it, or remove the HR image.'
            )
        extra = sorted(stored - set(partners))
        if extra:
            raise UserError(
                f"'{self.lq.where(extra[0])}' has no HR image in '{self.gt.place}' "
                f'({len(extra)} of {len(stored)} have none); add it, or remove the LR image.'
            )

    def lists(self) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.lists`; ``lq`` where it is stored."""
        lists = super().lists()
        return lists if self.lq is None else {**lists, 'lq': [self._partner(key) for key in lists['gt']]}

    def _partner(self, key: str) -> str:
        return self.options.filename_tmpl.format(key)

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`HRDataset.slots`; ``lq`` is HR's size divided by the scale."""
        slots = super().slots(index)
        if self.lq is not None:
            height, width = self.shape(index)
            slots['lq'] = Slot((height // self.scale, width // self.scale, 3), np.uint8)
        return slots

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        paths = super().fill_samples(samples, out, stack)
        if self.lq is None:
            return paths
        read = stack.enter_context(self.lq.reader())
        partners = [self._partner(key) for key in paths['gt_path']]
        size = self.gt_size and self.gt_size // self.scale
        for row, (sample, key) in enumerate(zip(samples, partners, strict=True)):
            top = left = 0
            if self.gt_size is not None:
                height, width = self.sizes()[sample.place].tolist()
                corner = draw_corner(sample.seed, (height, width), (self.gt_size, self.gt_size), self.gt_step)
                top, left = corner[0] // self.scale, corner[1] // self.scale
            write(sample.flip, self.cut(read(key), top, left, size), out['lq'][row], self.lq, key)
        return {**paths, 'lq_path': partners}

    def check(self, scale: int) -> None:
        """See :meth:`HRDataset.check`; every LR must be its HR's size divided by the scale."""
        super().check(scale)
        if self.lq is None:
            return
        position = {key: place for place, key in enumerate(self.lq.keys)}
        sizes = verify(self.lq)[[position[self._partner(key)] for key in self._keys]]
        wrong = np.flatnonzero((sizes * scale != self.sizes()).any(axis=1))
        if wrong.size:
            key = self.key(int(wrong[0]))
            (height, width), (gt_height, gt_width) = sizes[wrong[0]], self.sizes()[wrong[0]]
            raise UserError(
                f"'{self.lq.where(self._partner(key))}' is {width}x{height}, but its HR '{self.gt.where(key)}' "
                f'divided by the scale {scale} is {gt_width / scale:g}x{gt_height / scale:g}; '
                'make it again, or correct the scale.'
            )


@DATASET_REGISTRY.register()
class UnpairedFaceDataset(HRDataset):
    """HR faces, and real LR of other faces (``real_lq``) in an order of its own.

    Real LR is shuffled anew whenever it has been used up. It goes on while HR begins its next epoch, as in SCGAN (Hou
    et al., TIP 2023): sample ``i`` takes LR number ``i`` of the endless shuffled sequence. LR larger than
    HR divided by the scale is cropped at random; with ``use_hflip`` it is mirrored independently of HR.
    """

    Options: ClassVar[type[UnpairedFaceDatasetOptions]] = UnpairedFaceDatasetOptions
    options: UnpairedFaceDatasetOptions
    has_gt: ClassVar[bool] = True

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        store = self.open_root(self.options.dataroot_real_lq)
        self.real_lq = UnpairedSource(store, np.arange(len(store)), self.options.seed, self.options.use_hflip)

    def lists(self) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.lists`."""
        return {**super().lists(), 'real_lq': list(self.real_lq.keys)}

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`HRDataset.slots`; ``real_lq`` is HR's size divided by the scale."""
        height, width = self.shape(index)
        return {**super().slots(index), 'real_lq': Slot((height // self.scale, width // self.scale, 3), np.uint8)}

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        paths = super().fill_samples(samples, out, stack)
        return {**paths, 'real_lq_path': self.real_lq.fill(samples, out['real_lq'], stack, crops=True)}

    def check(self, scale: int) -> None:
        """See :meth:`HRDataset.check`; no real LR may be smaller than HR divided by the scale."""
        super().check(scale)
        height, width = self.shape(0)
        store = self.real_lq.store
        smallest, why = (height // scale, width // scale), f'HR is {width}x{height}, the scale {scale}'
        check_minimum(store, self.real_lq.positions, verify(store), smallest, why)


@DATASET_REGISTRY.register()
class SourceTargetDataset(HRDataset):
    """HR faces of a target domain, and HR faces of a source domain (``source_gt``) in an order of their own.

    A mixture is numbers and seeds: ``max_images`` and ``subset_seed`` choose the target's images (``dataroot_gt``),
    ``max_source_images`` and ``source_subset_seed`` the source's. With ``max_source_images: 0`` batches have no
    ``source_gt``.
    Source faces are of the target's size, or cropped to ``gt_size`` like them; crops and flips are independent of the
    target's. Views belong to ``gt``.
    """

    Options: ClassVar[type[SourceTargetDatasetOptions]] = SourceTargetDatasetOptions
    options: SourceTargetDatasetOptions
    has_gt: ClassVar[bool] = True

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        self.source: UnpairedSource | None = None
        options = self.options
        if options.max_source_images != 0 and options.dataroot_source is not None:
            store = self.open_root(options.dataroot_source)
            number, seed = options.max_source_images, options.source_subset_seed
            chosen = self.choose(store, np.arange(len(store)), 'max_source_images', number, seed)
            self.source = UnpairedSource(store, chosen, options.seed, options.use_hflip, options.use_rot)

    def lists(self) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.lists`; ``source_gt`` only if there is a source."""
        lists = super().lists()
        return lists if self.source is None else {**lists, 'source_gt': list(self.source.keys)}

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`HRDataset.slots`; ``source_gt`` is of the target's size."""
        slots = super().slots(index)
        return slots if self.source is None else {**slots, 'source_gt': slots['gt']}

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        paths = super().fill_samples(samples, out, stack)
        if self.source is None:
            return paths
        return {**paths, 'source_gt_path': self.source.fill(samples, out['source_gt'], stack, self.gt_size is not None)}

    def check(self, scale: int) -> None:
        """See :meth:`HRDataset.check`; source images are as large as the target's, or at least ``gt_size``."""
        super().check(scale)
        if self.source is None:
            return
        store, positions = self.source.store, self.source.positions
        height, width = self.shape(0)
        sizes = verify(store)
        check_minimum(store, positions, sizes, (height, width))
        wrong = positions[(sizes[positions] != (height, width)).any(axis=1)]
        if wrong.size and self.gt_size is None:
            found = sizes[wrong[0]]
            raise UserError(
                f"'{store.where(store.keys[wrong[0]])}' is {found[1]}x{found[0]} (width x height), the target's faces "
                f"in '{self.gt.place}' are {width}x{height}; make them equal, or set 'gt_size' to crop both."
            )
