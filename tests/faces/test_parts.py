"""Orders of a face's parts: the dataset's own table, written out by hand, against the translation."""

from __future__ import annotations

from fsr_plugins.faces.parts import DATASET_ORDER, PARTS, to_parts

# CelebAMask-HQ's ids as its README lists them, and what the part is called in face-parsing.PyTorch's list.
DATASET_IDS = {1: 1, 2: 10, 3: 6, 4: 4, 5: 5, 6: 2, 7: 3, 8: 7, 9: 8, 10: 11, 11: 12, 12: 13, 13: 17, 14: 18}
DATASET_IDS |= {0: 0, 15: 9, 16: 15, 17: 14, 18: 16}


def test_the_datasets_ids_become_these() -> None:
    assert dict(enumerate(to_parts(DATASET_ORDER).tolist())) == DATASET_IDS


def test_bisenets_order_is_the_maps_own() -> None:
    assert to_parts(PARTS).tolist() == list(range(19))
