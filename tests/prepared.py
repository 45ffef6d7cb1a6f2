"""What tests of preparers need: smooth pictures, archives of them, and BasicSR's reduction as a reference."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from basicsr.utils.matlab_functions import imresize


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth RGB noise of the seed's own, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (5, 5), 0)


def png(image: np.ndarray) -> bytes:
    """Of RGB; for files that are called .jpg as well, so that pixels stay as they are."""
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()


def written(path: Path, files: dict[str, bytes]) -> Path:
    """A zip, by its name, or a folder with these files."""
    if path.suffix == '.zip':
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def reduced(image: np.ndarray, size: int) -> np.ndarray:
    """A square by BasicSR's ``imresize``, float64 in [0, 255]."""
    return np.clip(imresize(image.astype(np.float32) / 255, size / image.shape[0]), 0, 1) * 255


def report(path: Path) -> dict[str, Any]:
    """The account of all images in a prepared folder or LMDB."""
    return json.loads((path / 'report.json').read_text())
