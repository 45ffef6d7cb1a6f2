"""What an experiment leaves to look at: ``summary.json`` and ``comparison.png``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.models import networks
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.saving import write_atomically, write_text
from fsr_plugins.models.validation import lq_of, quantise

#: Width of the column with the labels, and the white between the faces, in pixels.
LABEL_WIDTH, GAP = 88, 2


def write_summary(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Writes ``summary.json`` into an experiment's folder."""
    path = folder / 'summary.json'
    write_text(path, json.dumps(summary, indent=2) + '\n')
    return path


@torch.no_grad()
def comparison(model: FSRModel, loader: EvalLoader, faces: int = 8, cell: int = 128) -> np.ndarray:
    """Rows of LR, bicubic, every network of the model and HR, a column a face, labelled at the left.

    Returns:
        uint8 HWC BGR, ready for ``cv2.imwrite``; the faces lie evenly spread over the set.
    """
    dataset: Any = loader.dataset
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(faces, len(dataset))).astype(int))
    # A network under two names (`result`, `snet`) has one row.
    nets = {net: name for name, net in reversed(model.validation_nets().items())}
    rows: dict[str, list[Tensor]] = {}
    with networks.evaluating(*nets), model.precision.autocast():
        for index in indices:
            lq = lq_of(model, _batch_of_one(dataset[int(index)]), dataset.opt['name'])
            images = {'LR': lq, 'bicubic': bicubic_up(lq, model.opt['scale'])}
            images |= {name: net(lq) for net, name in nets.items()}
            if model.gt is not None:
                images['HR'] = model.gt
            for name, image in images.items():
                rows.setdefault(name, []).append(image)
    return grid(rows, cell)


def grid(rows: Mapping[str, Sequence[Tensor]], cell: int = 128) -> np.ndarray:
    """Images side by side, a row under each name.

    Args:
        rows: images (1, 3, H, W) RGB in [0, 1] by name, equally many in each row.
        cell: side to which each is brought, by nearest neighbours.

    Returns:
        uint8 HWC BGR, labelled at the left.
    """
    return np.concatenate([_row(name, [_cell(image, cell) for image in images]) for name, images in rows.items()])


def write_comparison(path: Path, picture: np.ndarray) -> None:
    """Writes the picture as PNG, whole or not at all."""
    write_atomically(path, lambda file: file.write(cv2.imencode('.png', picture)[1].tobytes()))


def write_preview(folder: Path, model: FSRModel) -> None:
    """Writes a model's own picture of what it is at, where it has one, as ``preview.png``."""
    with torch.no_grad():
        picture = model.preview()
    if picture is not None:
        write_comparison(folder / 'preview.png', np.ascontiguousarray(_pixels(picture[None])))


def _batch_of_one(sample: Mapping[str, Any]) -> dict[str, Any]:
    return torch.utils.data.default_collate([dict(sample)])


def _pixels(image: Tensor) -> np.ndarray:
    """(1, 3, H, W) RGB in [0, 1] to uint8 HWC BGR."""
    return quantise(image)[0].mul(255).round().byte().permute(1, 2, 0).flip(2).cpu().numpy()


def _cell(image: Tensor, size: int) -> np.ndarray:
    enlarged = cv2.resize(np.ascontiguousarray(_pixels(image)), (size, size), interpolation=cv2.INTER_NEAREST)
    return cv2.copyMakeBorder(enlarged, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _row(name: str, cells: list[np.ndarray]) -> np.ndarray:
    label = np.full((cells[0].shape[0], LABEL_WIDTH, 3), 255, np.uint8)
    cv2.putText(label, name, (6, label.shape[0] // 2 + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([label, *cells], axis=1)
