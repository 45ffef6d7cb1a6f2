"""Figures of images that lie in folders, whatever program made them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from fsr_plugins.errors import UserError, shown
from fsr_plugins.images import look_at, read_bytes, read_image
from fsr_plugins.metrics import MeanMetric
from fsr_plugins.registry import METRIC_REGISTRY, build, load_plugins_of, near
from fsr_plugins.stores.images import EXTENSIONS

#: Images that are read ahead.
AHEAD = 16


def matched(sr: Path, hr: Path | None) -> dict[str, tuple[Path, Path | None]]:
    """Each result with its reference: by the whole name, else by the name without its ending.

    Raises:
        UserError: a folder is none or has no image, a result has no reference or several, or one is of two results.
    """
    results = _images(sr)
    if hr is None:
        return {path.name: (path, None) for path in results}
    references = _images(hr)
    by_name = {path.name: path for path in references}
    by_stem: dict[str, list[Path]] = {}
    for path in references:
        by_stem.setdefault(path.stem, []).append(path)
    found: dict[str, tuple[Path, Path | None]] = {}
    taken: dict[Path, Path] = {}
    for path in results:
        candidates = [by_name[path.name]] if path.name in by_name else by_stem.get(path.stem, [])
        if len(candidates) != 1:
            why = 'no image' if not candidates else f'{len(candidates)} images'
            raise UserError(f"'{shown(path)}' has {why} of its name in '{shown(hr)}': one is needed.")
        other = taken.setdefault(candidates[0], path)
        if other is not path:
            raise UserError(
                f"'{shown(other)}' and '{shown(path)}' are both results for '{shown(candidates[0])}': remove one."
            )
        found[path.name] = path, candidates[0]
    return found


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"'{shown(folder)}' is no folder.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise UserError(f"'{shown(folder)}' has no image in it.")
    return found


def image_metrics() -> dict[str, type[MeanMetric]]:
    """The registered metrics that have a value of each image, by their names in small letters."""
    load_plugins_of('metrics')
    return {
        name.lower(): target
        for name, target in METRIC_REGISTRY
        if inspect.isclass(target) and issubclass(target, MeanMetric)
    }


def open_metrics(names: Sequence[str], arguments: Mapping[str, object]) -> dict[str, MeanMetric]:
    """Metrics by name, case aside.

    Args:
        arguments: given to the metrics that take them.

    Raises:
        UserError: a name is none, an argument is taken by no metric or is wrong, or a metric cannot be taken here.
    """
    known = image_metrics()
    found: dict[str, MeanMetric] = {}
    used: set[str] = set()
    for name in dict.fromkeys(name.lower() for name in names):
        if name not in known:
            raise UserError(
                f'--metrics {shown(name)}: no metric with a value of each image has this name.{near(name, known)} '
                f'There are: {", ".join(sorted(known))}.'
            )
        takes = inspect.signature(known[name]).parameters
        block = {key: value for key, value in arguments.items() if key in takes}
        used |= set(block)
        metric = build('metrics', {'type': known[name].__name__, **block})
        assert isinstance(metric, MeanMetric)
        if metric.absent:
            raise UserError(f'--metrics {name}: {metric.convention}')
        found[name] = metric
    unused = [key for key in arguments if key not in used]
    if unused:
        raise UserError(f'--{unused[0].replace("_", "-")}: none of {", ".join(found)} takes it.')
    return found


def measure(pairs: Mapping[str, tuple[Path, Path | None]], metrics: Mapping[str, MeanMetric]) -> dict[str, list[float]]:
    """The values of each metric, in the order of the pairs.

    Raises:
        UserError: an image cannot be read, a pair differs in size, or a metric cannot be taken of an image.
    """
    needy = [name for name, metric in metrics.items() if metric.needs_gt]
    if needy and any(reference is None for _, reference in pairs.values()):
        raise UserError(f'{needy[0]} compares with HR: give the folder of HR behind that of SR, or other --metrics.')
    for name, (result, reference) in pairs.items():
        if reference is not None and (sizes := [_size(path) for path in (result, reference)])[0] != sizes[1]:
            said = ', '.join(f'{height}×{width}' for height, width in sizes)
            raise UserError(f"'{shown(name)}': SR and HR differ in size, height × width: {said}.")
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for name, sr, hr in _read(pairs):
        for metric_name, metric in metrics.items():
            metric.update(sr, hr if metric.needs_gt else None, {'keys': [name]})
            found[metric_name] += [float(value) for value in metric.last[metric.name]]
    return found


def _size(path: Path) -> tuple[int, int]:
    return look_at(read_bytes(path), shown(path)).shape


def _read(pairs: Mapping[str, tuple[Path, Path | None]]) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    names = list(pairs)
    with ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), AHEAD):
            some = names[start : start + AHEAD]
            yield from zip(
                some,
                list(pool.map(lambda name: _tensor(pairs[name][0]), some)),
                list(pool.map(lambda name: None if (hr := pairs[name][1]) is None else _tensor(hr), some)),
                strict=True,
            )


def _tensor(path: Path) -> Tensor:
    return torch.from_numpy(read_image(path)).permute(2, 0, 1)[None].contiguous() / 255
