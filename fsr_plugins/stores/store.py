"""What every store offers: uint8 RGB images by key, and what belongs to the faces on them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.images import Image
from fsr_plugins.stores.manifest import Holding, Json, Manifest
from fsr_plugins.stores.records import Face

#: What :meth:`Store.reader` hands out: key → uint8 HWC RGB.
Read = Callable[[str], Image]


class Store(ABC):
    """A read-only, sorted mapping from unique keys to faces.

    ``identities`` is int64 (n,) by key order or None; ``landmarks`` float32 (n, 5, 2), x and y in pixels, in the order
    image-left eye, image-right eye, nose, image-left mouth corner, image-right mouth corner, or None. Safe to share
    between threads, to fork and to pickle.
    """

    path: str
    keys: Sequence[str]
    identities: npt.NDArray[np.int64] | None = None
    landmarks: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def parts(self) -> tuple[Store, ...]:
        """The stores it is made of: itself alone, unless it is several seen as one."""
        return (self,)

    @property
    def underlying(self) -> Store:
        """The store whose files it reads: itself, unless it only keeps another's images."""
        return self

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """Kind, encoding, keys and what is held; image sizes as far as they are known without decoding."""

    @property
    @abstractmethod
    def has_parsing(self) -> bool:
        """Whether parsing maps are held."""

    @property
    def holds(self) -> list[Holding]:
        """What is held beside the images, in the manifest's words."""
        held: dict[Holding, bool] = {
            'identity': self.identities is not None,
            'landmarks': self.landmarks is not None,
            'parsing': self.has_parsing,
        }
        return [name for name, there in held.items() if there]

    def get(self, key: str) -> Face:
        """The face of a key: its image, and identity, landmarks and parsing map where they are held.

        Raises:
            UserError: image or parsing map does not decode, or the parsing map is missing.
            KeyError: no such key.
        """
        place = bisect_left(self.keys, key)
        if place == len(self) or self.keys[place] != key:
            raise KeyError(key)
        return Face(
            key,
            self.image(key),
            None if self.identities is None else int(self.identities[place]),
            None if self.landmarks is None else self.landmarks[place],
            self.parsing(key) if self.has_parsing else None,
        )

    @abstractmethod
    def image(self, key: str) -> Image:
        """The image as uint8 HWC RGB, the caller's own.

        Raises:
            UserError: it does not decode.
            KeyError: no such key.
        """

    @abstractmethod
    def parsing(self, key: str) -> Image:
        """The parsing map as uint8 HW, CelebAMask-HQ ids. Raises as :meth:`image`; UserError if missing."""

    @abstractmethod
    def sizes(self) -> npt.NDArray[np.int32]:
        """Height and width of every image, int32 (n, 2) by key order. A folder is decoded once (``verify``)."""

    @abstractmethod
    def files(self) -> Iterator[str]:
        """The paths of all files that the content depends on, in a fixed order.

        What is computed from the content is kept for as long as these files keep their lengths and times.
        """

    def content_checksum(self) -> str:
        """SHA-256 in hex over every key and its image, computed from the images whatever the manifest says.

        Raises:
            UserError: an image cannot be read.
        """
        digest = hashlib.sha256()
        with self.reader() as read:
            for key in self.keys:
                image = read(key)
                digest.update(f'{key}\n{image.shape}\n'.encode())
                digest.update(image.tobytes())
        return digest.hexdigest()

    def mean_points(self) -> npt.NDArray[np.float32] | None:
        """Where the faces' points lie on average, float32 (5, 2); None where no face has known ones."""
        if self.landmarks is None:
            return None
        known = self.landmarks[np.isfinite(self.landmarks).all(axis=(1, 2))]
        return known.mean(axis=0, dtype=np.float64).astype(np.float32) if len(known) else None

    def provenance(self) -> Json:
        """What tells this dataset from another, in few plain values.

        These are the manifest's, the images' size where all have the same (height, width), and the mean of the faces'
        points. Checkpoints carry them.
        """
        sizes, points = np.unique(self.sizes(), axis=0), self.mean_points()
        found = self.manifest.provenance()
        if len(sizes) == 1:
            found['size'] = sizes[0].tolist()
        if points is not None:
            found['points'] = [[round(float(value), 2) for value in point] for point in points]
        return found

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """A function that reads many images at less cost; its arrays are read-only and die with the context."""
        yield self.image

    @property
    def place(self) -> str:
        """What messages call the store."""
        return self.path

    def where(self, key: str) -> str:
        """The image's place, for messages."""
        return f'{self.place}:{key}'
