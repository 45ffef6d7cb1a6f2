"""A face on its way into a store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.images import Image


class FaceLike(Protocol):
    """What writers take: any object with these attributes."""

    @property
    def key(self) -> str:
        """Unique in the store."""

    @property
    def image(self) -> Image:
        """uint8 HWC RGB."""

    @property
    def identity(self) -> int | None:
        """A number for the person."""

    @property
    def landmarks(self) -> npt.NDArray[np.float32] | None:
        """float32 (5, 2), x and y in pixels, in the store's order."""

    @property
    def parsing(self) -> Image | None:
        """uint8 HW, CelebAMask-HQ ids."""


class Face(NamedTuple):
    """A face with what is known of it; see :class:`FaceLike`."""

    key: str
    image: Image
    identity: int | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    parsing: Image | None = None


class Holder(Protocol):
    """What belongs to a face, encoded or not; None where it is not known."""

    @property
    def identity(self) -> int | None: ...

    @property
    def landmarks(self) -> npt.NDArray[np.float32] | None: ...

    @property
    def parsing(self) -> object | None: ...


def holdings(face: Holder) -> tuple[str, ...]:
    """The names of what the face brings beside its image, in the manifest's words."""
    return tuple(name for name in ('identity', 'landmarks', 'parsing') if getattr(face, name) is not None)
