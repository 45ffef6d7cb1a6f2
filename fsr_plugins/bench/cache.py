"""What was measured once, kept under a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

import fsr_plugins
from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import package_versions
from fsr_plugins.engine.machine import versions
from fsr_plugins.registry import ARCH_REGISTRY, REGISTRIES

#: What of this package takes part in a figure; training and reports do not.
_ROOMS = ('checkpoints', 'archs', 'methods', 'metrics', 'degradations', 'edges', 'faces', 'stores', 'portraits', 'data')
_MODELS = (
    'models/base.py',
    'models/networks.py',
    'models/evaluation.py',
    'models/stage_model.py',
    'models/strategies.py',
)
_BENCH = (
    'bench/candidate.py',
    'bench/colours.py',
    'bench/cost.py',
    'bench/data.py',
    'bench/evaluation.py',
    'bench/memory.py',
    'bench/others.py',
)
#: Of the losses what metrics and networks are made with.
_LOSSES = ('losses/efficientnet.py', 'losses/features.py', 'losses/frozen.py', 'losses/vgg.py')
_ROOT = ('images.py', 'orientation.py', 'mending.py', 'compat.py', 'without_cuda.py', 'lmdb_env.py')
_FILES = (*_ROOT, *_MODELS, *_BENCH, *_LOSSES)
#: Packages besides that metrics take their values or weights from, where they are installed.
_PACKAGES = ('facexlib', 'keras', 'lpips', 'pyiqa', 'scipy')
#: Whose code is known by its version.
_KNOWN = ('fsr_plugins', 'basicsr')
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
    """The code that gives an image and its figures: this package's, the plugins', and the packages below.

    Of plugins all files count, whatever they register: a metric, a degradation or a network may use any of them.

    Args:
        arch: the registered name of the network's class; None for bicubic.
    """
    own = Path(inspect.getfile(ARCH_REGISTRY.get(arch))) if arch is not None and arch in ARCH_REGISTRY else None
    return {
        'package': _package_version(),
        'arch': None if own is None else hashlib.sha256(own.read_bytes()).hexdigest(),
        'plugins': plugin_code(),
        'versions': {**versions(), **_installed(), **package_versions(arch)},
    }


def plugin_code() -> dict[str, str]:
    """By the first part of its name, the SHA-256 of every module or package that registers something from outside."""
    named = {target.__module__ for registry in REGISTRIES.values() for _, target in registry}
    return {top: _code(top) for top in sorted({name.partition('.')[0] for name in named} - {*_KNOWN})}


def _code(top: str) -> str:
    """Over the Python files of a module or package; over its name where it has none."""
    module = sys.modules.get(top)
    folders = [Path(folder) for folder in getattr(module, '__path__', ())]
    alone = getattr(module, '__file__', None)
    files = {file.relative_to(folder): file for folder in folders for file in sorted(folder.rglob('*.py'))}
    if not folders and alone is not None:
        files = {Path(Path(alone).name): Path(alone)}
    sha256 = hashlib.sha256(top.encode())
    for name, file in files.items():
        sha256.update(f'{name.as_posix()}\n'.encode() + file.read_bytes())
    return sha256.hexdigest()


def _installed() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


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
