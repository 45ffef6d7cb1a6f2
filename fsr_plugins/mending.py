"""BasicSR and torchvision are mended whoever imports them first, as soon as ``fsr_plugins`` has been imported.

BasicSR's registries can be had without the rest of it. What the two import for a function that is seldom called is
imported when it is called.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_BASICSR = 'basicsr'
_REGISTRY = 'basicsr.utils.registry'
_COMPILER_HELPERS = 'torch._dynamo.utils'
_DISTRIBUTIONS = 'scipy.stats'
_VERSIONS = 'distutils.version'


class _MendingLoader(Loader):
    """Loads BasicSR after :mod:`fsr_plugins.compat`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader of the file."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Applies the mends, for which the package has to be known, then runs its own ``__init__``."""
        with _later(_DISTRIBUTIONS, 'multivariate_normal'), _later(_VERSIONS, 'LooseVersion'):
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
        with _later(_COMPILER_HELPERS, 'is_compile_supported'):
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
def _later(module: str, function: str) -> Iterator[None]:
    """Keeps what is imported within from importing ``module`` for one function that it may never call.

    Meanwhile the module is one that has this function alone, which asks the real one when it is called. This saves
    torch's compiler (a second, for ``torchvision.ops.roi_align``), ``scipy.stats`` (half a second, for random blur
    kernels) and setuptools (for ``distutils``, which compares versions). Needed as long as torchvision 0.28 and BasicSR
    1.4.2 import them at once.
    """
    parents = [module.rpartition('.')[0]] if module == _VERSIONS else []
    replaced = [name for name in (*parents, module) if name not in sys.modules]
    if module not in replaced:
        yield
        return
    stand_ins = {name: ModuleType(name) for name in replaced}

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    stand_ins[module].__dict__[function] = call
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@contextmanager
def without_collection() -> Iterator[None]:
    """Pauses Python's search for unreachable objects: imports make many objects, and all of them stay."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


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
