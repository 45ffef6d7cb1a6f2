"""BasicSR and torchvision are mended whoever imports them first, as soon as ``fsr_plugins`` has been imported.

BasicSR's registries can be had without the rest of it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_BASICSR = 'basicsr'
_REGISTRY = 'basicsr.utils.registry'
_COMPILER_HELPERS = 'torch._dynamo.utils'


class _MendingLoader(Loader):
    """Loads BasicSR after :mod:`fsr_plugins.compat`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader of the file."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Applies the mends, for which the package has to be known, then runs its own ``__init__``."""
        importlib.import_module('fsr_plugins.compat')
        self.loader.exec_module(module)


class _TorchvisionLoader(_MendingLoader):
    """Lets torchvision's CUDA wheel import beside a CPU-only torch.

    The wheel's extension links CUDA libraries; without them its operators are not declared, and torchvision's own shape
    registrations for two of them fail at import ("operator torchvision::nms does not exist"). Needed as long as those
    registrations are unconditional (seen in torchvision 0.28).
    """

    def exec_module(self, module: ModuleType) -> None:
        """Runs its ``__init__``, and where that fails so, declares the operators and runs it again."""
        with _compiler_later():
            self._execute(module)

    def _execute(self, module: ModuleType) -> None:
        try:
            self.loader.exec_module(module)
        except RuntimeError as error:
            if 'torchvision::' not in str(error):
                raise
            import torch

            for name in [name for name in sys.modules if name.startswith('torchvision.')]:
                del sys.modules[name]
            library = torch.library.Library('torchvision', 'FRAGMENT')
            for operator in ('nms', 'qnms'):
                library.define(f'{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
            _kept.append(library)
            self.loader.exec_module(module)


@contextmanager
def _compiler_later() -> Iterator[None]:
    """Keeps torchvision from importing torch's compiler, which takes a second, for a function it may never call.

    Meanwhile the compiler's module of helpers is one that has this function alone, which asks the real one when it is
    called. Needed as long as ``torchvision.ops.roi_align`` imports it (seen in torchvision 0.28).
    """
    if _COMPILER_HELPERS in sys.modules:
        yield
        return
    stand_in = ModuleType(_COMPILER_HELPERS)

    def is_compile_supported(device_type: str) -> bool:
        return bool(importlib.import_module(_COMPILER_HELPERS).is_compile_supported(device_type))

    stand_in.__dict__['is_compile_supported'] = is_compile_supported
    sys.modules[_COMPILER_HELPERS] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_COMPILER_HELPERS) is stand_in:
            del sys.modules[_COMPILER_HELPERS]


#: What must not be collected.
_kept: list[object] = []
_LOADERS = {_BASICSR: _MendingLoader, 'torchvision': _TorchvisionLoader}


class MendingFinder(MetaPathFinder):
    """Finds BasicSR and torchvision as Python does, and has them loaded mended."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specs of the two themselves; of their modules and of all else nothing."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _LOADERS else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LOADERS[fullname](spec.loader)
        return spec


def mend_on_import() -> None:
    """Has both mended when they are imported; nothing is imported here."""
    if not any(isinstance(finder, MendingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, MendingFinder())


def registry_module() -> ModuleType:
    """BasicSR's module of registries, without the rest of BasicSR, which fills them when it is imported.

    Raises:
        ModuleNotFoundError: BasicSR is not installed.
    """
    if _REGISTRY not in sys.modules:
        package = importlib.util.find_spec(_BASICSR)
        folders = package.submodule_search_locations if package is not None else None
        if not folders:
            raise ModuleNotFoundError(f"No module named '{_BASICSR}'", name=_BASICSR)
        spec = importlib.util.spec_from_file_location(_REGISTRY, Path(folders[0], 'utils', 'registry.py'))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_REGISTRY] = module
    refuse_name_collisions(sys.modules[_REGISTRY])
    return sys.modules[_REGISTRY]


def refuse_name_collisions(module: ModuleType) -> None:
    """Makes a name registered twice an error under ``python -O`` too, where BasicSR's ``assert`` is gone and the second
    class silently replaces the first. Needed as long as BasicSR is 1.4.2."""
    registry = module.Registry
    register = registry._do_register
    if hasattr(register, '__wrapped__'):
        return

    @functools.wraps(register)
    def do_register(self: object, name: str, obj: object, suffix: str | None = None) -> None:
        full = f'{name}_{suffix}' if isinstance(suffix, str) else name
        if full in self:  # type: ignore[operator]
            raise AssertionError(
                f"An object named '{full}' was already registered in '{self._name}' registry!"  # type: ignore[attr-defined]
            )
        register(self, name, obj, suffix)

    registry._do_register = do_register
