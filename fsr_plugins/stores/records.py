"""A face on its way into a store."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.images import Image
from fsr_plugins.stores.manifest import Holding


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
    def key(self) -> str: ...

    @property
    def identity(self) -> int | None: ...

    @property
    def landmarks(self) -> npt.NDArray[np.float32] | None: ...

    @property
    def parsing(self) -> object | None: ...


def holdings(face: Holder, before: tuple[Holding, ...] | None) -> tuple[Holding, ...]:
    """The names of what the face brings beside its image, in the manifest's words.

    Args:
        before: What those before it brought; None for the first.

    Raises:
        ValueError: it brings something else than they.
    """
    found: dict[Holding, object] = {'identity': face.identity, 'landmarks': face.landmarks, 'parsing': face.parsing}
    brought = tuple(name for name, there in found.items() if there is not None)
    if before is not None and brought != before:
        raise ValueError(
            f"The face '{face.key}' brings {brought}, those before it {before}; a store holds the same of all."
        )
    return brought
