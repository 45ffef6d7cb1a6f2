"""Pairs of images through metrics, batch by batch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.atomic import write_text
from fsr_plugins.errors import UserError, shown
from fsr_plugins.images import look_at, read_bytes
from fsr_plugins.metrics import Metric
from fsr_plugins.metrics.base import BatchMeta, check_values, figures_of
from fsr_plugins.stores import Store
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.images import Image

#: Images that are measured together, and their pixels.
BATCH, PIXELS = 16, 1 << 22
#: What the first column of a table is called.
_KEY = 'image'


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        figures: values of the whole set, by metric and their own names; the first is the metric's own.
        keys: of the results that were measured, n.
        by_image: n values of each metric that has one an image.
    """

    figures: dict[str, dict[str, float]]
    keys: list[str]
    by_image: dict[str, list[float]]

    def rows(self) -> dict[str, dict[str, float]]:
        """The values of each image, by key and metric."""
        names = list(self.by_image)
        values = zip(*self.by_image.values(), strict=True) if names else iter([()] * len(self.keys))
        return {key: dict(zip(names, row, strict=True)) for key, row in zip(self.keys, values, strict=True)}


def measure(
    metrics: Mapping[str, Metric],
    results: Store,
    references: Store | None,
    pairs: Sequence[tuple[str, str]],
    device: torch.device,
) -> Measured:
    """Takes in all pairs, of any sizes.

    Args:
        metrics: by the names of their figures; each is used up.
        results, references: the images; no references: metrics that need none.
        pairs: keys of a result and its reference (any text without references), at least one.

    Raises:
        UserError: a metric needs HR and there is none; two images of a pair differ in size; or as a metric raises.
    """
    lacking = [name for name, metric in metrics.items() if metric.needs_gt and references is None]
    if lacking:
        raise UserError(f"The metric '{lacking[0]}' compares with HR: name its folder behind that of the results.")
    if references is not None:
        _check_sizes(results, references, pairs)
    kept: dict[str, list[Tensor]] = {}
    place = {} if references is None else {key: row for row, key in enumerate(references.keys)}
    for batch in _batches(results, references, pairs):
        # Those that are measured are named as HR is: lists of pairs name HR.
        keys = [pair[1] for pair in batch.pairs]
        meta: BatchMeta = {
            'keys': keys,
            'net': 'result',
            'cache': {},
            **_views(references, [place[key] for key in keys if place]),
        }
        sr, gt = (None if each is None else _tensor(each, device) for each in (batch.sr, batch.gt))
        assert sr is not None
        for name, metric in metrics.items():
            metric.update(sr, gt, meta)
            for value in list(metric.last.values())[:1]:
                check_values(metric, value, len(sr))
                kept.setdefault(name, []).append(value.detach().double().cpu())
    figures = {name: figures_of(metric) for name, metric in metrics.items()}
    by_image = {name: torch.cat(values).tolist() for name, values in kept.items()}
    return Measured(figures, [result for result, _ in pairs], by_image)


def write_csv(path: Path, measured: Measured) -> None:
    """Writes a row an image: its key, and each metric's value.

    Raises:
        UserError, DiskError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow([_KEY, *measured.by_image])
    writer.writerows(zip(measured.keys, *measured.by_image.values(), strict=True))
    write_text(path, text.getvalue())


def is_table(path: Path) -> bool:
    """Whether a file is what :func:`write_csv` writes."""
    try:
        with path.open('rb') as file:
            return file.readline(1 << 16).rstrip(b'\r\n').split(b',')[0] == _KEY.encode()
    except OSError:
        return False


@dataclass(frozen=True)
class _Batch:
    """Images (N, H, W, 3) uint8 of one size."""

    pairs: list[tuple[str, str]]
    sr: list[Image]
    gt: list[Image] | None


def _batches(results: Store, references: Store | None, pairs: Sequence[tuple[str, str]]) -> Iterator[_Batch]:
    """Consecutive pairs of one size."""
    with results.reader() as result, (results if references is None else references).reader() as reference:
        group = _Batch([], [], None if references is None else [])
        for pair in pairs:
            sr, gt = result(pair[0]), None if references is None else reference(pair[1])
            full = len(group.sr) == BATCH or len(group.sr) * sr.shape[0] * sr.shape[1] >= PIXELS
            if group.sr and (full or group.sr[0].shape != sr.shape):
                yield group
                group = _Batch([], [], None if references is None else [])
            group.pairs.append(pair)
            group.sr.append(sr)
            if group.gt is not None and gt is not None:
                group.gt.append(gt)
        if group.sr:
            yield group


def _check_sizes(results: Store, references: Store, pairs: Sequence[tuple[str, str]]) -> None:
    sizes = zip(
        image_sizes(results, [key for key, _ in pairs]),
        image_sizes(references, [key for _, key in pairs]),
        strict=True,
    )
    for (result, reference), (own, wanted) in zip(pairs, sizes, strict=True):
        if own != wanted:
            said = [f'{height}×{width}' for height, width in (own, wanted)]
            raise UserError(
                f'The result {shown(result)} has {said[0]} pixels and its HR {shown(reference)} {said[1]}: results '
                "are measured at HR's size. Take the HR that was reduced, or the right --template."
            )


def image_sizes(store: Store, keys: Sequence[str]) -> list[tuple[int, int]]:
    """Heights and widths in the order of the keys; of files by what their beginnings say, as decoding takes long.

    Raises:
        UserError: a file is no image.
    """
    if isinstance(store, FolderStore):
        return [look_at(read_bytes(path), shown(path)).shape for path in map(store.where, keys)]
    rows = {key: row for row, key in enumerate(store.keys)}
    return [(int(height), int(width)) for height, width in store.sizes()[[rows[key] for key in keys]]]


def _tensor(images: Sequence[Image], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255


def _views(references: Store | None, rows: Sequence[int]) -> BatchMeta:
    """Landmarks and identities of HR faces, as far as they are known."""
    found: BatchMeta = {}
    if references is None:
        return found
    if references.landmarks is not None:
        found['landmarks'] = torch.from_numpy(np.asarray(references.landmarks)[rows]).float()
    if references.identities is not None:
        found['identity'] = torch.from_numpy(np.asarray(references.identities)[rows])
    return found
