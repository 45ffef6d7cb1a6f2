"""What an experiment leaves to look at: ``summary.json`` and ``comparison.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from fsr_plugins.archs.windows import enlarge
from fsr_plugins.atomic import write_atomically, write_text
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.engine.plain import json_text
from fsr_plugins.models import networks
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import quantise
from fsr_plugins.models.strategies import lq_of
from fsr_plugins.values import Record

#: Least width of the column with the labels, the white beside a label and that between the faces, in pixels.
LABEL_WIDTH, LABEL_MARGIN, GAP = 88, 6, 2
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


#: What an experiment ends with.
SUMMARY = 'summary.json'


def write_summary(folder: Path, summary: Record) -> Path:
    """Writes ``summary.json`` into an experiment's folder."""
    path = folder / SUMMARY
    write_text(path, json_text(summary, indent=2))
    return path


def comparison(model: FSRModel, loader: EvalLoader, faces: int = 8, cell: int = 128) -> np.ndarray:
    """The :func:`rows` of faces that lie evenly spread over the set, labelled at the left.

    Returns:
        uint8 HWC BGR, ready for ``cv2.imwrite``.
    """
    count = len(loader.dataset)
    indices = np.unique(np.linspace(0, count - 1, min(faces, count)).astype(int))
    return grid(rows(model, loader, indices.tolist()), cell)


@torch.no_grad()
def rows(model: FSRModel, loader: EvalLoader, indices: Sequence[int]) -> dict[str, list[Tensor]]:
    """LR, bicubic, every network of the model and HR, each of the same faces.

    Args:
        indices: which images of the set.
    Returns:
        images (1, 3, H, W) RGB in [0, 1] by name; a network under two names (`result`, `snet`) is there once.
    """
    dataset = loader.dataset
    nets = {net: name for name, net in reversed(model.evaluation.networks(model).items())}
    found: dict[str, list[Tensor]] = {}
    with networks.evaluating(*nets), model.precision.autocast():
        for index in indices:
            lq = lq_of(model, torch.utils.data.default_collate([dict(dataset[index])]), dataset.opt['name'])
            images = {'LR': lq, 'bicubic': bicubic_up(lq, model.options.scale)}
            images |= {name: enlarge(net, lq) for net, name in nets.items()}
            if model.gt is not None:
                images['HR'] = model.gt
            for name, image in images.items():
                found.setdefault(name, []).append(image)
    return found


def grid(rows: Mapping[str, Sequence[Tensor]], cell: int = 128) -> np.ndarray:
    """Images side by side, a row under each name.

    Args:
        rows: images (1, 3, H, W) RGB in [0, 1] by name, equally many in each row.
        cell: side to which each is brought, by nearest neighbours.

    Returns:
        uint8 HWC BGR, labelled at the left.
    """
    widths = [cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)[0][0] + 2 * LABEL_MARGIN for name in rows]
    lines = []
    for name, images in rows.items():
        label = np.full((cell + GAP, max(LABEL_WIDTH, *widths), 3), 255, np.uint8)
        place = (LABEL_MARGIN, label.shape[0] // 2 + 5)
        cv2.putText(label, name, place, _FONT, _FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
        cells = [np.full((cell + GAP, cell + GAP, 3), 255, np.uint8) for _ in images]
        for framed, image in zip(cells, images, strict=True):
            enlarged = np.ascontiguousarray(pixels(image))
            framed[:cell, :cell] = cv2.resize(enlarged, (cell, cell), interpolation=cv2.INTER_NEAREST)
        lines.append(np.concatenate([label, *cells], axis=1))
    return np.concatenate(lines)


def write_comparison(path: Path, picture: np.ndarray) -> None:
    """Writes the picture as PNG, whole or not at all."""
    write_atomically(path, lambda file: file.write(cv2.imencode('.png', picture)[1].tobytes()))


def write_preview(folder: Path, model: FSRModel) -> None:
    """Writes a model's own picture of what it is at, where it has one, as ``preview.png``."""
    with torch.no_grad():
        picture = model.preview()
    if picture is not None:
        write_comparison(folder / 'preview.png', np.ascontiguousarray(pixels(picture[None])))


def pixels(image: Tensor) -> np.ndarray:
    """(1, 3, H, W) RGB in [0, 1], or (1, 1, H, W) luma, to uint8 HWC BGR."""
    return quantise(image)[0].expand(3, -1, -1).mul(255).round().byte().permute(1, 2, 0).flip(2).cpu().numpy()
