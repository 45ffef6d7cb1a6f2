"""What was measured once, kept under a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch

import fsr_plugins
from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import package_versions
from fsr_plugins.engine.machine import versions
from fsr_plugins.registry import ARCH_REGISTRY

#: What of this package takes part in a figure; training and reports do not.
_ROOMS = ('checkpoints', 'archs', 'methods', 'metrics', 'degradations', 'edges', 'faces', 'stores', 'portraits', 'data')
_MODELS = (
    'models/base.py',
    'models/networks.py',
    'models/evaluation.py',
    'models/stage_model.py',
    'models/strategies.py',
)
_BENCH = ('bench/candidate.py', 'bench/colours.py', 'bench/data.py', 'bench/evaluation.py', 'bench/others.py')
_ROOT = ('images.py', 'orientation.py', 'mending.py', 'compat.py', 'without_cuda.py', 'lmdb_env.py')
_FILES = (*_ROOT, *_MODELS, *_BENCH)
logger = logging.getLogger(__name__)
Found = TypeVar('Found')


class MeasurementCache:
    """JSON files ``<kind>_<digest>.json`` in a folder, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_or_measure(self, kind: str, key: Mapping[str, object], make: Callable[[], Found]) -> Found:
        """What was kept for ``key``, or else what ``make`` gives, which is kept.

        Args:
            kind: what it is, for the file's name.
            key: plain values: everything on which the outcome depends.
            make: measures; its outcome is plain values.
        """
        text = json.dumps(key, sort_keys=True)
        path = self.folder / f'{kind}_{hashlib.sha256(text.encode()).hexdigest()[:24]}.json'
        if path.exists():
            try:
                kept = json.loads(path.read_bytes(), parse_constant=_number)
                if kept['key'] == json.loads(text):
                    return kept['found']
            except FloatingPointError:
                logger.warning('%s holds NaN: it is measured again.', path)
            except (OSError, ValueError, KeyError, TypeError):
                logger.warning('%s is damaged: it is measured again.', path)
        found = make()
        write_text(path, json.dumps({'key': key, 'found': found}) + '\n')
        # As it will be read the next time.
        return json.loads(json.dumps(found))


def _number(name: str) -> float:
    """Infinity, which a figure may be."""
    if name == 'NaN':
        raise FloatingPointError
    return float(name)


def code_version(arch: str | None) -> dict[str, object]:
    """The code that gives an image and its figures: this package's, the arch's own file, and the packages below.

    Args:
        arch: the registered name of the network's class; None for bicubic.
    """
    own = Path(inspect.getfile(ARCH_REGISTRY.get(arch))) if arch is not None and arch in ARCH_REGISTRY else None
    return {
        'package': _package_version(),
        'arch': None if own is None else hashlib.sha256(own.read_bytes()).hexdigest(),
        'versions': {**versions(), **package_versions(arch)},
    }


@lru_cache(maxsize=1)
def _package_version() -> str:
    root = Path(fsr_plugins.__file__).parent
    files = [file for room in _ROOMS for file in sorted((root / room).rglob('*.py'))]
    sha256 = hashlib.sha256()
    for file in [*files, *(root / name for name in _FILES)]:
        sha256.update(f'{file.relative_to(root)}\n'.encode() + file.read_bytes())
    return sha256.hexdigest()


def device_name(device: torch.device) -> str:
    """Of a GPU its model, else ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'
