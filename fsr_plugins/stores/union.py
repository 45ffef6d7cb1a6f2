"""Several stores seen as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.manifest import Manifest
from fsr_plugins.stores.store import Read, Store


class UnionStore(Store):
    """The faces of all parts, part by part.

    The keys are ``<number>/<key>``, the part's number from 0 with as many digits as the last one's, so that sorted keys
    are the parts' own in the parts' order. What belongs to the faces is held if every part holds it. Identities are
    the parts' own numbers: the same number is the same person in all of them.

    Args:
        parts: At least one; a store may occur more than once.

    Raises:
        UserError: there are no parts.
    """

    def __init__(self, parts: Sequence[Store]) -> None:
        if not parts:
            raise UserError('A list of stores is empty; name at least one folder, *.lmdb or portraits://… in it.')
        self._parts = tuple(parts)
        self.path = ' + '.join(part.path for part in parts)
        digits = len(str(len(parts) - 1))
        self._numbers = {f'{number:0{digits}}': part for number, part in enumerate(parts)}
        self.keys = [f'{number}/{key}' for number, part in self._numbers.items() for key in part.keys]
        identities = [part.identities for part in parts if part.identities is not None]
        self.identities = np.concatenate(identities) if len(identities) == len(parts) else None
        landmarks = [part.landmarks for part in parts if part.landmarks is not None]
        self.landmarks = np.concatenate(landmarks) if len(landmarks) == len(parts) else None
        manifests = [part.manifest for part in parts]
        encodings = {manifest.encoding for manifest in manifests}
        checksums = [manifest.checksum for manifest in manifests if manifest.checksum is not None]
        self._manifest = Manifest(
            kind='union',
            encoding=encodings.pop() if len(encodings) == 1 else 'mixed',
            count=len(self),
            keys=list(self.keys),
            sizes=_joint_sizes(manifests),
            holds=self.holds,
            checksum=joint_checksum(checksums) if len(checksums) == len(manifests) else None,
        )

    @property
    def parts(self) -> tuple[Store, ...]:
        """See :attr:`Store.parts`."""
        return self._parts

    @property
    def manifest(self) -> Manifest:
        """Made from the parts': the checksum if all have one, the sizes if all know them."""
        return self._manifest

    @property
    def has_parsing(self) -> bool:
        """Whether every part holds parsing maps."""
        return all(part.has_parsing for part in self._parts)

    def _find(self, key: str) -> tuple[Store, str]:
        number, _, own = key.partition('/')
        return self._numbers[number], own

    def image(self, key: str) -> Image:
        """See :meth:`Store.image`."""
        part, own = self._find(key)
        return part.image(own)

    def parsing(self, key: str) -> Image:
        """See :meth:`Store.parsing`."""
        part, own = self._find(key)
        return part.parsing(own)

    def sizes(self) -> npt.NDArray[np.int32]:
        """See :meth:`Store.sizes`."""
        return np.concatenate([part.sizes() for part in self._parts])

    def files(self) -> Iterator[str]:
        """Those of all parts."""
        for part in self._parts:
            yield from part.files()

    def content_checksum(self) -> str:
        """See :meth:`Store.content_checksum`; over those of the parts."""
        return joint_checksum(part.content_checksum() for part in self._parts)

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Reads through the readers of all parts."""
        with ExitStack() as stack:
            readers = {number: stack.enter_context(part.reader()) for number, part in self._numbers.items()}

            def read(key: str) -> Image:
                number, _, own = key.partition('/')
                return readers[number](own)

            yield read

    def where(self, key: str) -> str:
        """The image's place in its part."""
        part, own = self._find(key)
        return part.where(own)


def _joint_sizes(manifests: Sequence[Manifest]) -> list[tuple[int, int]]:
    """As a manifest says them: none if a part does not know its own, one if all are equal, else one an image."""
    if not all(manifest.sizes for manifest in manifests):
        return []
    if len({size for manifest in manifests for size in manifest.sizes}) == 1:
        return manifests[0].sizes[:1]
    return [
        size
        for manifest in manifests
        for size in (manifest.sizes * manifest.count if len(manifest.sizes) == 1 else manifest.sizes)
    ]


def joint_checksum(checksums: Iterable[str]) -> str:
    """SHA-256 in hex over the parts' checksums, in their order."""
    return hashlib.sha256('\n'.join(checksums).encode()).hexdigest()
