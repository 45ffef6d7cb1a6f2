"""What every dataset is: the images of a store, numbered, written straight into batches."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from fsr_plugins.data.augment import Flip
from fsr_plugins.data.key_choice import choose_by_key
from fsr_plugins.data.options import Block, ImageDatasetOptions, Keys, parse_options
from fsr_plugins.data.seeding import key_number, mix, permutation
from fsr_plugins.errors import UserError
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.manifest import Json
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.pixels import CachedPixels, cached
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.union import UnionStore
from fsr_plugins.stores.verify import verify

#: A batch, or a part of one, that samples are written into: name → array with the batch axis first.
Arrays = Mapping[str, npt.NDArray[Any]]

#: A sample or a batch by name: arrays or tensors, numbers, strings or lists of them.
Values = dict[str, Any]


class Slot(NamedTuple):
    """Shape and dtype of one sample's part of a batch array."""

    shape: tuple[int, ...]
    dtype: type[np.generic]


class Sample(NamedTuple):
    """Sample ``number``: the place of its image, and the seed and the flip of its augmentation."""

    number: int
    place: int
    seed: int
    flip: Flip


class ImageDataset(Dataset[Values], ABC):
    """Images as uint8. Sample ``i`` is image ``i % n`` in epoch ``i // n``.

    A subclass names its main store (:meth:`root`), says what arrays a sample fills (:meth:`shape`, :meth:`slots`) and
    fills them (:meth:`fill_samples`); :meth:`draw_flip` augments.

    Args:
        opt: The dataset block of an option file, with ``phase``, ``scale`` and ``seed`` set by the engine.

    Attributes:
        role: what the main store's images are called in a batch.
        has_gt: whether the true HR is known, so that results can be compared with it.

    Raises:
        UserError: a wrong option, or data that is not there.
    """

    Options: ClassVar[type[ImageDatasetOptions]] = ImageDatasetOptions
    options: ImageDatasetOptions
    role: ClassVar[str] = 'gt'
    has_gt: ClassVar[bool] = True

    def __init__(self, opt: Block) -> None:
        super().__init__()
        self.opt = dict(opt)
        self.options = parse_options(self.Options, opt)
        self.name = self.options.name
        self.scale = self.options.scale or 1
        self._opened: list[Store] = []
        self.store = self.open_root(self.root())
        candidates = choose_by_key(self.store, self.wanted(self.store), self.options.exclude_keys, self.name)
        self.chosen = self.choose(
            self.store, candidates, 'max_images', self.options.max_images, self.options.subset_seed
        )
        self._keys = [self.store.keys[position] for position in self.chosen.tolist()]
        self._sizes: npt.NDArray[np.int32] | None = None

    @abstractmethod
    def root(self) -> str | list[str]:
        """Where the images are that the samples are numbered by."""

    @abstractmethod
    def shape(self, index: int) -> tuple[int, int]:
        """Height and width by which sample ``index`` in [0, len) is grouped: those of one shape make a batch."""

    @abstractmethod
    def slots(self, index: int) -> dict[str, Slot]:
        """The arrays that a sample of image ``index`` in [0, len) fills; all samples of a batch have the same."""

    @abstractmethod
    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """Writes samples as :meth:`fill` does, without ``index`` and ``seed``; what it opens goes on ``stack``."""

    def wanted(self, store: Store) -> Keys | None:
        """Which images of the main store are used, as the option ``keys`` names them; None: all.

        Raises:
            UserError: a list of them cannot be read, or names what is not there.
        """
        return self.options.keys

    def open_root(self, root: str | list[str]) -> Store:
        """Opens a store, or several as one; UserError if ``io_backend`` contradicts any."""
        store = open_store(root, self.options.recursive)
        if self.options.recursive and not any(isinstance(part, FolderStore) for part in store.parts):
            raise UserError(
                f"The dataset '{self.name}' says 'recursive: true', but '{store.place}' is no folder of images; "
                'remove it.'
            )
        kind = (self.options.io_backend or {}).get('type')
        for part in store.parts:
            expected = 'lmdb' if part.manifest.kind == 'lmdb' else 'disk'
            if kind not in (None, expected):
                raise UserError(
                    f"The dataset '{self.name}' says io_backend type '{kind}', but '{part.place}' is '{expected}'; "
                    'remove io_backend.'
                )
        # Several processes of one training read the same.
        several = int(os.environ.get('WORLD_SIZE', '1')) > 1
        # What is validated on is read once in a while: it is kept where that is asked for.
        mode = 'off' if self.options.cache == 'auto' and not self.options.training else self.options.cache
        parts = [cached(part, mode, several) for part in store.parts]
        store = parts[0] if len(parts) == 1 else UnionStore(parts)
        self._opened.append(store)
        return store

    def choose(
        self, store: Store, candidates: npt.NDArray[np.int64], option: str, number: int | None, seed: int | None
    ) -> npt.NDArray[np.int64]:
        """``number`` of a store's candidates, ascending: chosen at random by ``seed``, or without one the first.

        Args:
            store: Where the images are.
            candidates: Positions in it, ascending.
            option: The key that asks for them, for messages.
            number: None: all.
            seed: Of the choice.

        Raises:
            UserError: there are fewer.
        """
        count = len(candidates)
        if number is not None and number > count:
            there = 'holds' if count == len(store) else f'has {len(store)}, of which the choice of keys leaves'
            raise UserError(
                f"The dataset '{self.name}' wants {number} images, '{store.place}' {there} {count}; lower '{option}'."
            )
        order = np.arange(count) if seed is None else permutation(seed, 0, count)
        return candidates[np.sort(order[:number])]

    def lists(self) -> dict[str, list[str]]:
        """The keys of the images in use, ascending, by their role in a batch (``gt``, ``source_gt``, ``real_lq`` …)."""
        return {self.role: self.keys}

    @property
    def keys(self) -> list[str]:
        """Of the images in use, ascending."""
        return list(self._keys)

    @property
    def identities(self) -> npt.NDArray[np.int64] | None:
        """Whose the images in use are, int64 (len,); None where the store does not say."""
        return None if self.store.identities is None else self.store.identities[self.chosen]

    @property
    def stores(self) -> tuple[Store, ...]:
        """All that it reads from, the one it is numbered by first."""
        return tuple(self._opened)

    def memory(self) -> int:
        """The bytes that decoded pixels will take when all are kept."""
        parts = (part for store in self.stores for part in store.parts)
        return sum(part.memory() for part in parts if isinstance(part, CachedPixels))

    def provenance(self) -> list[Json]:
        """What is to be known of all stores that it reads: counts, checksum, origin and protocol, size and points."""
        found = []
        for part in (part for store in self.stores for part in store.parts):
            about, points = part.provenance(), part.mean_points()
            # Points in a line are those of no face: somebody's labels are wrong, and nothing can be placed by them.
            if points is not None and not (points != points[:1]).any(axis=0).all():
                del about['points']
            found.append({**about, 'checksum': store_checksum(part)})
        return found

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """The key of the image ``index`` in [0, len)."""
        return self._keys[index]

    def sizes(self) -> npt.NDArray[np.int32]:
        """Heights and widths of the images, int32 (len, 2), before any crop; a folder is decoded once for them."""
        if self._sizes is None:
            self._sizes = self.store.sizes()[self.chosen]
        return self._sizes

    def fill(self, numbers: Sequence[int], out: Arrays) -> dict[str, list[str]]:
        """Writes samples into ``out``, whose arrays have :meth:`slots`' shapes behind a batch axis of ``len(numbers)``.

        Returns:
            The keys of the images, as lists: ``gt_path``, ``lq_path`` and what else a dataset reads.

        Raises:
            UserError: an image does not decode, or is not of the size the batch needs.
        """
        samples = [self.sample(number) for number in numbers]
        out['index'][:] = [sample.place for sample in samples]
        out['seed'][:] = [sample.seed for sample in samples]
        with ExitStack() as stack:
            return self.fill_samples(samples, out, stack)

    def sample(self, number: int) -> Sample:
        """What is decided about sample ``number`` ≥ 0 before anything is read."""
        epoch, index = divmod(number, len(self))
        drawn = index if self.options.draw_by == 'place' else key_number(self._keys[index])
        seed = mix(self.options.seed, epoch, drawn)
        return Sample(number, index, seed, self.draw_flip(seed))

    def draw_flip(self, seed: int) -> Flip:
        """How a sample of this seed is flipped: not at all, unless a subclass augments."""
        return Flip(False, False, False)

    def __getitem__(self, number: int) -> Values:
        """One sample, of any ``number`` ≥ 0, as numpy arrays, plain numbers and key strings."""
        slots = self.slots(number % len(self))
        arrays = {name: np.empty((1, *slot.shape), slot.dtype) for name, slot in slots.items()}
        paths = self.fill([number], arrays)
        values: Values = {name: array[0] if array.ndim > 1 else array[0].item() for name, array in arrays.items()}
        return {**values, **{name: keys[0] for name, keys in paths.items()}}

    def check(self, scale: int) -> None:
        """Decodes everything and looks at all sizes, before a run begins.

        Raises:
            UserError: naming the first image that does not serve, and what to do.
        """
        self._sizes = verify(self.store)[self.chosen]


def number_slots() -> dict[str, Slot]:
    """What every sample says of itself: ``index`` in the dataset and ``seed`` for degradations."""
    return {'index': Slot((), np.int64), 'seed': Slot((), np.int64)}


def write(flip: Flip, image: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], store: Store, key: str) -> None:
    """Writes a turned image into its place in a batch.

    Raises:
        UserError: it is not of the batch's size.
    """
    height, width = image.shape[:2]
    if (width, height, 3) != out.shape if flip.transpose else image.shape != out.shape:
        raise UserError(
            f"'{store.where(key)}' is {width}x{height} (width x height), its batch is {out.shape[1]}x{out.shape[0]}; "
            "set 'gt_size' to crop, or make the images equal."
        )
    flip.write(image, out)
