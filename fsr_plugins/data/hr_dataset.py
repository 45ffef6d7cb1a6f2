"""What the datasets of HR faces share: the views of a face, crops and flips."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fsr_plugins.data.augment import Flip, draw_corner, draw_flip
from fsr_plugins.data.edge_view import EdgeView
from fsr_plugins.data.image_dataset import Arrays, ImageDataset, Sample, Slot, number_slots, write
from fsr_plugins.data.options import Block, HRDatasetOptions
from fsr_plugins.data.parts import check_parts
from fsr_plugins.errors import UserError
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.verify import check_minimum


class HRDataset(ImageDataset):
    """HR faces as uint8, as :class:`ImageDataset`; crop and flip are pure functions of (seed, epoch, index)."""

    Options: ClassVar[type[HRDatasetOptions]] = HRDatasetOptions
    options: HRDatasetOptions

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        self.gt_size = self.options.gt_size
        self.gt_step = self.options.gt_step or self.scale
        edges = self.options.edges
        self.edges = EdgeView(edges) if edges is not None else None
        for part in self.gt.parts:
            held = (*part.holds, 'canny')
            for view in self.options.views:
                if view not in held:
                    raise UserError(
                        f"The dataset '{self.name}' asks for the view '{view}', which '{part.place}' "
                        'does not hold; prepare the data with it or remove the view.'
                    )

    def root(self) -> str | list[str]:
        """See :meth:`ImageDataset.root`."""
        return self.options.dataroot_gt

    @property
    def gt(self) -> Store:
        """The HR faces."""
        return self.store

    def shape(self, index: int) -> tuple[int, int]:
        """See :meth:`ImageDataset.shape`: that of the HR handed out."""
        if self.gt_size:
            return self.gt_size, self.gt_size
        height, width = self.sizes()[index].tolist()
        return height, width

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`ImageDataset.slots`."""
        height, width = self.shape(index)
        views: dict[str, dict[str, Slot]] = {
            'parsing': {'parsing': Slot((height, width), np.uint8)},
            'landmarks': {'landmarks': Slot((5, 2), np.float32)},
            'identity': {'identity': Slot((), np.int64)},
            'canny': self.edges.slots(height, width) if self.edges is not None else {},
        }
        slots = {'gt': Slot((height, width, 3), np.uint8), **number_slots()}
        for view in self.options.views:
            slots.update(views[view])
        return slots

    def draw_flip(self, seed: int) -> Flip:
        """See :meth:`ImageDataset.draw_flip`: by ``use_hflip`` and ``use_rot``."""
        return draw_flip(seed, self.options.use_hflip, self.options.use_rot)

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        read = stack.enter_context(self.gt.reader())
        if 'identity' in self.options.views and self.gt.identities is not None:
            out['identity'][:] = self.gt.identities[self.chosen[out['index']]]
        keys = [self._keys[sample.place] for sample in samples]
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            self._fill_face(sample, read(key), row, out)
        return {'gt_path': keys}

    def _fill_face(self, sample: Sample, image: Image, row: int, out: Arrays) -> None:
        key, flip, stored = self._keys[sample.place], sample.flip, image.shape[:2]
        image = self.used(sample.place, image)
        top, left = self.corner(sample, image)
        cut = self.cut(image, top, left, self.gt_size)
        write(flip, cut, out['gt'][row], self.gt, key)
        if 'parsing' in out:
            labels = self.gt.parsing(key)
            if labels.shape != stored:
                raise UserError(f"The parsing map of '{self.gt.where(key)}' is not of its image's size; make it again.")
            labels = self.used(sample.place, labels)
            flip.write_labels(self.cut(labels, top, left, self.gt_size), out['parsing'][row])
        if 'landmarks' in out and self.gt.landmarks is not None:
            points = self.gt.landmarks[self.chosen[sample.place]] - np.array([left, top], np.float32)
            out['landmarks'][row] = flip.points(points, cut.shape[0], cut.shape[1])
        if self.edges is not None:
            whole = cut.shape == image.shape
            self.edges.fill(cut, sample.place if whole else None, flip, row, out)

    def used(self, place: int, image: Image) -> Image:
        """The part of a stored image, or of its parsing map, that is handed out or cropped: all of it."""
        return image

    def corner(self, sample: Sample, image: Image) -> tuple[int, int]:
        """Top and left of the sample's crop of its HR image: multiples of ``gt_step``, as it comes of the scale."""
        if self.gt_size is None:
            return 0, 0
        height, width = image.shape[:2]
        if min(height, width) < self.gt_size:
            where = self.gt.where(self._keys[sample.place])
            raise UserError(
                f"'{where}' is {width}x{height}, smaller than gt_size {self.gt_size}; remove it or crop less."
            )
        return draw_corner(sample.seed, (height, width), (self.gt_size, self.gt_size), self.gt_step)

    @staticmethod
    def cut(image: Image, top: int, left: int, size: int | None) -> Image:
        """The square of ``size`` at a corner as a view, or the whole image."""
        return image if size is None else image[top : top + size, left : left + size]

    def check(self, scale: int) -> None:
        """See :meth:`ImageDataset.check`; crops must fit, and whole images be multiples of the scale."""
        super().check(scale)
        self.check_parsing()
        if self.gt_size is not None:
            check_minimum(self.gt, self.chosen, self.gt.sizes(), (self.gt_size, self.gt_size))
            if self.gt_size % scale:
                raise UserError(
                    f"gt_size {self.gt_size} of the dataset '{self.name}' is not a multiple of the "
                    f'scale {scale}; change it.'
                )
            return
        sizes = self.sizes()
        self.check_edges()
        self._refuse((sizes % scale).any(axis=1), f'which is not a multiple of the scale {scale}; crop or resize it')
        if self.options.training:
            self._refuse((sizes != sizes[:1]).any(axis=1), "unlike the first image; set 'gt_size' to crop")
        if self.options.use_rot:
            self._refuse(sizes[:, 0] != sizes[:, 1], "but 'use_rot' needs squares; set 'gt_size' to crop")

    def check_parsing(self) -> None:
        """Whether the view parsing holds the ids it is of.

        Raises:
            UserError: a map holds another.
        """
        if 'parsing' in self.options.views:
            check_parts(self.gt, self._keys)

    def check_edges(self) -> None:
        """Whether the images can be reduced as the view canny needs.

        Raises:
            UserError: one cannot.
        """
        edges = self.options.edges
        if edges is not None:
            why = f"which is not a multiple of {edges.step}, as 'canny.scales' need; crop or resize it"
            self._refuse((self.sizes() % edges.step).any(axis=1), why)

    def _refuse(self, wrong: npt.ArrayLike, why: str) -> None:
        found = np.flatnonzero(wrong)
        if found.size:
            height, width = self.sizes()[found[0]].tolist()
            more = f' So are {found.size} of {len(self)} images.' if found.size > 1 else ''
            where = self.gt.where(self._keys[found[0]])
            raise UserError(f"'{where}' is {width}x{height} (width x height), {why}.{more}")
