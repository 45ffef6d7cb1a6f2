"""What the datasets share: a store of HR faces with their views, the numbering of samples, crops and flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from fsr_plugins.data.augment import Turn, draw_corner, draw_turn
from fsr_plugins.data.images import Image
from fsr_plugins.data.options import HRDatasetOptions, parse_options
from fsr_plugins.data.seeding import mix, permutation
from fsr_plugins.data.stores import Store, open_store
from fsr_plugins.data.verify import check_minimum, verify
from fsr_plugins.errors import UserError

#: A batch, or a part of one, that samples are written into: name → array with the batch axis first.
Arrays = Mapping[str, npt.NDArray[Any]]


class Slot(NamedTuple):
    """Shape and dtype of one sample's part of a batch array."""

    shape: tuple[int, ...]
    dtype: type[np.generic]


class Sample(NamedTuple):
    """What is decided about sample ``number`` before anything is read."""

    number: int
    place: int
    seed: int
    turn: Turn


class FaceSet(Dataset[dict[str, Any]]):
    """HR faces as uint8. Sample ``i`` is image ``i % n`` in epoch ``i // n``; its crop and turn are pure functions of
    (seed, epoch, index).

    Args:
        opt: The dataset block of an option file, with ``phase``, ``scale`` and ``seed`` set by the engine.

    Raises:
        UserError: a wrong option, or data that is not there.
    """

    Options: ClassVar[type[HRDatasetOptions]] = HRDatasetOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.opt = dict(opt)
        self.options = parse_options(self.Options, opt)
        self.name = self.options.name
        self.scale = self.options.scale or 1
        self.gt_size = self.options.gt_size
        self.gt = self.open_root(self.options.dataroot_gt)
        self._check_views()
        self.chosen = self._choose()
        self._keys = [self.gt.keys[position] for position in self.chosen.tolist()]
        self._gt_sizes: npt.NDArray[np.int32] | None = None

    def open_root(self, root: str) -> Store:
        """Opens a store; UserError if ``io_backend`` contradicts it."""
        store = open_store(root)
        kind = (self.options.io_backend or {}).get('type')
        expected = 'lmdb' if store.manifest.kind == 'lmdb' else 'disk'
        if kind not in (None, expected):
            raise UserError(
                f"The dataset '{self.name}' says io_backend type '{kind}', but '{root}' is '{expected}'; "
                'remove io_backend.'
            )
        return store

    def _check_views(self) -> None:
        held = {
            'parsing': self.gt.has_parsing,
            'landmarks': self.gt.landmarks is not None,
            'identity': self.gt.identities is not None,
        }
        for view in self.options.views:
            if not held[view]:
                raise UserError(
                    f"The dataset '{self.name}' asks for the view '{view}', which '{self.options.dataroot_gt}' "
                    'does not hold; prepare the data with it or remove the view.'
                )

    def _choose(self) -> npt.NDArray[np.int64]:
        count, number, seed = len(self.gt), self.options.number, self.options.number_seed
        if number is not None and number > count:
            raise UserError(
                f"The dataset '{self.name}' wants {number} images, '{self.gt.path}' holds {count}; "
                "lower 'number'."
            )
        order = np.arange(count) if seed is None else permutation(seed, 0, count)
        return np.sort(order[: number or count])

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """The HR key of the image ``index`` in [0, len)."""
        return self._keys[index]

    def gt_sizes(self) -> npt.NDArray[np.int32]:
        """Heights and widths of the HR images, int32 (len, 2), before any crop; a folder is decoded once for them."""
        if self._gt_sizes is None:
            self._gt_sizes = self.gt.sizes()[self.chosen]
        return self._gt_sizes

    def gt_shape(self, index: int) -> tuple[int, int]:
        """Height and width of the HR that sample ``index`` in [0, len) hands out."""
        if self.gt_size:
            return self.gt_size, self.gt_size
        height, width = self.gt_sizes()[index].tolist()
        return height, width

    def slots(self, index: int) -> dict[str, Slot]:
        """The arrays that a sample of image ``index`` in [0, len) fills; all samples of a batch have the same."""
        height, width = self.gt_shape(index)
        views: dict[str, Slot] = {
            'parsing': Slot((height, width), np.uint8),
            'landmarks': Slot((5, 2), np.float32),
            'identity': Slot((), np.int64),
        }
        asked: dict[str, Slot] = {view: views[view] for view in self.options.views}
        number = Slot((), np.int64)
        return {'gt': Slot((height, width, 3), np.uint8), **asked, 'index': number, 'seed': number}

    def fill(self, numbers: Sequence[int], out: Arrays) -> dict[str, list[str]]:
        """Writes samples into ``out``, whose arrays have :meth:`slots`' shapes behind a batch axis of ``len(numbers)``.

        Returns:
            The keys of the images, as lists: ``gt_path`` and what else a dataset reads.

        Raises:
            UserError: an image does not decode, or is not of the size the batch needs.
        """
        samples = [self._sample(number) for number in numbers]
        with ExitStack() as stack:
            return self._fill(samples, out, stack)

    def _sample(self, number: int) -> Sample:
        epoch, index = divmod(number, len(self))
        seed = mix(self.options.seed, epoch, index)
        return Sample(number, index, seed, draw_turn(seed, self.options.use_hflip, self.options.use_rot))

    def _fill(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        read = stack.enter_context(self.gt.reader())
        out['index'][:] = [sample.place for sample in samples]
        out['seed'][:] = [sample.seed for sample in samples]
        if 'identity' in self.options.views and self.gt.identities is not None:
            out['identity'][:] = self.gt.identities[self.chosen[out['index']]]
        keys = [self._keys[sample.place] for sample in samples]
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            self._fill_face(sample, read(key), row, out)
        return {'gt_path': keys}

    def _fill_face(self, sample: Sample, image: Image, row: int, out: Arrays) -> None:
        key, turn = self._keys[sample.place], sample.turn
        top, left = self.corner(sample, image)
        cut = self.cut(image, top, left, self.gt_size)
        write(turn, cut, out['gt'][row], self.gt, key)
        if 'parsing' in out:
            labels = self.gt.parsing(key)
            if labels.shape != image.shape[:2]:
                raise UserError(f"The parsing map of '{self.gt.where(key)}' is not of its image's size; make it again.")
            turn.write_labels(self.cut(labels, top, left, self.gt_size), out['parsing'][row])
        if 'landmarks' in out and self.gt.landmarks is not None:
            points = self.gt.landmarks[self.chosen[sample.place]] - np.array([left, top], np.float32)
            out['landmarks'][row] = turn.points(points, cut.shape[0], cut.shape[1])

    def corner(self, sample: Sample, image: Image) -> tuple[int, int]:
        """Top and left of the sample's crop of its HR image: multiples of the scale, so that LR can be cut alike."""
        if self.gt_size is None:
            return 0, 0
        height, width = image.shape[:2]
        if min(height, width) < self.gt_size:
            where = self.gt.where(self._keys[sample.place])
            raise UserError(
                f"'{where}' is {width}x{height}, smaller than gt_size {self.gt_size}; "
                'remove it or crop less.'
            )
        return draw_corner(sample.seed, height, width, self.gt_size, self.scale)

    @staticmethod
    def cut(image: Image, top: int, left: int, size: int | None) -> Image:
        """The square of ``size`` at a corner as a view, or the whole image."""
        return image if size is None else image[top : top + size, left : left + size]

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One sample, of any ``number`` ≥ 0, as numpy arrays, ints and key strings."""
        slots = self.slots(number % len(self))
        arrays = {name: np.empty((1, *slot.shape), slot.dtype) for name, slot in slots.items()}
        paths = self.fill([number], arrays)
        values: dict[str, Any] = {name: array[0] if array.ndim > 1 else int(array[0]) for name, array in arrays.items()}
        return {**values, **{name: keys[0] for name, keys in paths.items()}}

    def check(self, scale: int) -> None:
        """Decodes everything and looks at all sizes, before a run begins.

        Raises:
            UserError: naming the first image that does not serve, and what to do.
        """
        self._gt_sizes = verify(self.gt)[self.chosen]
        if self.gt_size is not None:
            check_minimum(self.gt, self.chosen, self.gt.sizes(), (self.gt_size, self.gt_size))
            if self.gt_size % scale:
                raise UserError(
                    f"gt_size {self.gt_size} of the dataset '{self.name}' is not a multiple of the "
                    f'scale {scale}; change it.'
                )
            return
        sizes = self._gt_sizes
        self._refuse((sizes % scale).any(axis=1), f'which is not a multiple of the scale {scale}; crop or resize it')
        if self.options.training:
            self._refuse((sizes != sizes[:1]).any(axis=1), "unlike the first image; set 'gt_size' to crop")
        if self.options.use_rot:
            self._refuse(sizes[:, 0] != sizes[:, 1], "but 'use_rot' needs squares; set 'gt_size' to crop")

    def _refuse(self, wrong: npt.ArrayLike, why: str) -> None:
        found = np.flatnonzero(wrong)
        if found.size:
            height, width = self.gt_sizes()[found[0]].tolist()
            raise UserError(f"'{self.gt.where(self._keys[found[0]])}' is {width}x{height} (width x height), {why}.")


def write(turn: Turn, image: Image, out: npt.NDArray[np.uint8], store: Store, key: str) -> None:
    """Writes a turned image into its place in a batch.

    Raises:
        UserError: it is not of the batch's size.
    """
    height, width = image.shape[:2]
    if (width, height, 3) != out.shape if turn.transpose else image.shape != out.shape:
        raise UserError(
            f"'{store.where(key)}' is {width}x{height} (width x height), its batch is {out.shape[1]}x{out.shape[0]}; "
            "set 'gt_size' to crop, or make the images equal."
        )
    turn.write(image, out)
