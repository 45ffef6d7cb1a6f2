"""Images that other programs made of a suite's test faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.bench.data import TestSet
from fsr_plugins.errors import UserError
from fsr_plugins.measuring import image_sizes, matched
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.store import Store


@dataclass(frozen=True)
class OthersImages:
    """An image of every test face.

    Attributes:
        root: where they are, as the suite file says it.
        store: the images.
        by_key: by the test set's keys, those of the images.
    """

    root: str
    store: Store
    by_key: Mapping[str, str]

    @property
    def checksum(self) -> str:
        """SHA-256 of all images of the store."""
        return store_checksum(self.store)

    def batch(self, keys: Sequence[str], device: torch.device) -> Tensor:
        """The images of some test faces of one size, (N, 3, H, W) RGB in [0, 1].

        Raises:
            UserError: one does not decode.
        """
        with self.store.reader() as read:
            images = np.stack([read(self.by_key[key]) for key in keys])
        return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255


def images_of(name: str, root: str, template: str | None, tests: TestSet) -> OthersImages:
    """The images of an entry, each beside its test face; sizes are told by the files' beginnings.

    Images of faces that the test set leaves out are left out too.

    Args:
        name: of the entry.
        root: a folder, with those in it, or another store.
        template: as :func:`fsr_plugins.measuring.matched` takes it.

    Raises:
        UserError: an image belongs to no HR, a test face has no image, or one is not of HR's size.
    """
    where = f"Entry '{name}', images '{root}'"
    store, dataset = open_store(root, recursive=True), tests.dataset
    try:
        pairs = matched(store.keys, dataset.store.keys, template, option="'template'")
    except UserError as error:
        raise UserError(f'{where}: {error}') from error
    by_key = {reference: result for result, reference in pairs}
    keys = [dataset.key(index) for index in range(len(dataset))]
    missing = [key for key in keys if key not in by_key]
    if missing:
        raise UserError(
            f"{where}: {len(missing)} of {len(keys)} test faces have no image (the first is '{missing[0]}'). Figures "
            'of a part do not compare with those of the whole: make them, or leave these faces out of the test set.'
        )
    for index, (key, size) in enumerate(zip(keys, image_sizes(store, [by_key[key] for key in keys]), strict=True)):
        wanted = dataset.shape(index)
        if size != wanted:
            said = [f'{height}×{width}' for height, width in (size, wanted)]
            raise UserError(
                f"{where}: '{store.where(by_key[key])}' has {said[0]} pixels, its HR '{key}' {said[1]} (height × "
                "width). Make it of HR's size, or give the right 'template'."
            )
    return OthersImages(root, store, {key: by_key[key] for key in keys})
