"""Whose the test images are: by the store's identities, or else by the names of the images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fsr_plugins.bench.results import PeopleResults
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.measuring.statistics import People

#: A key's last parts that name a person. LFW's names begin with a capital and have a small letter somewhere, unlike the
#: ``IMG_0001`` and ``face_0001`` of other folders; a folder of the person's own name makes any name sure.
_PATTERNS = (
    re.compile(r'(?:.*/)?(?P<person>[^/]+)/(?P=person)_\d{4}'),
    re.compile(r'(?:.*/)?(?P<person>[A-Z](?=[^/]*[a-z])[^/]*)_\d{4}'),
    re.compile(r'(?:.*/)?(?P<person>yaleB\d\d)_[^/]+'),
)


@dataclass(frozen=True)
class TestPeople:
    """Whose each test image is."""

    __test__ = False  # it is no test, whatever pytest makes of the name

    index: Mapping[str, int]  #: by key, from 0 on
    source: Literal['identities', 'keys']
    alone: int  #: images whose person cannot be told; each counts as a person

    @property
    def count(self) -> int:
        """How many people there are."""
        return len(set(self.index.values()))

    def of(self, keys: Sequence[str]) -> People:
        """The people (n,) of images by key."""
        return np.array([self.index[key] for key in keys], np.int64)

    def as_dict(self) -> PeopleResults:
        """Plain values."""
        return {'count': self.count, 'source': self.source, 'alone': self.alone, 'index': list(self.index.values())}


def people_in(dataset: ImageDataset) -> TestPeople:
    """The people of the images in use."""
    return people_by(dataset.keys, dataset.identities)


def people_by(keys: Sequence[str], identities: npt.NDArray[np.int64] | None = None) -> TestPeople:
    """The people of images.

    Args:
        keys: of the images, unique.
        identities: whose they are (n,), as their store has it; None: it is told by the keys ``Name/Name_0001`` and
            ``Name_0001`` (LFW) and ``yaleB01_…`` (Extended Yale B). Any other image is a person by itself.
    """
    if identities is not None:
        ranks = np.unique(identities, return_inverse=True)[1]
        return TestPeople(dict(zip(keys, ranks.tolist(), strict=True)), 'identities', 0)
    names = [next((found['person'] for each in _PATTERNS if (found := each.fullmatch(key))), None) for key in keys]
    # What is told and what is not are apart, even where a key is another image's person.
    labels = [f'/{key}' if name is None else name for key, name in zip(keys, names, strict=True)]
    ranks = np.unique(np.array(labels, dtype=str), return_inverse=True)[1]
    return TestPeople(dict(zip(keys, ranks.tolist(), strict=True)), 'keys', names.count(None))
