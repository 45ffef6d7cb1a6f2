"""Mends BasicSR and torchvision when they are first imported, by any module, after ``fsr_plugins``.

BasicSR's registries load without the rest of it. What the two import for a seldom called function is imported when it
is called.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_BASICSR = 'basicsr'
_REGISTRY = 'basicsr.utils.registry'

#: Modules that are imported later, each with those of its functions that importers take by name.
_Later = Mapping[str, tuple[str, ...]]

#: What BasicSR 1.4.2 imports for functions that are seldom called: NIQE, random blur kernels, versions, VGG, grids.
_LATER_IN_BASICSR: _Later = {
    'scipy': (),
    'scipy.ndimage': (),
    'scipy.ndimage.filters': ('convolve',),
    'scipy.special': ('gamma',),
    'scipy.stats': ('multivariate_normal',),
    'distutils': (),
    'distutils.version': ('LooseVersion',),
    'torchvision': (),
    'torchvision.models': (),
    'torchvision.models.vgg': (),
    'torchvision.transforms': (),
    'torchvision.transforms.functional': ('normalize',),
    'torchvision.utils': ('make_grid',),
}
#: torch's compiler, a second, which torchvision 0.28 imports for ``torchvision.ops.roi_align``.
_LATER_IN_TORCHVISION: _Later = {'torch._dynamo.utils': ('is_compile_supported',)}

#: What torchvision 0.17 removed and BasicSR imports; see ``compat``.
FUNCTIONAL_TENSOR = 'torchvision.transforms.functional_tensor'


class _MendingLoader(Loader):
    """Loads BasicSR after :mod:`fsr_plugins.compat`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader of the file."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Applies the mends, for which the package has to be known, then runs its own ``__init__``."""
        if 'torchvision' in sys.modules:  # imported before this package was; otherwise its own loader does it
            importlib.import_module('fsr_plugins.without_cuda').complete_torchvision()
        with later(_LATER_IN_BASICSR):
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
        with later(_LATER_IN_TORCHVISION):
            self._execute(module)
        importlib.import_module('fsr_plugins.without_cuda').complete_torchvision()

    def _execute(self, module: ModuleType) -> None:
        try:
            self.loader.exec_module(module)
        except RuntimeError as error:
            if 'torchvision::' not in str(error):
                raise
            import torch

            for name in [name for name in sys.modules if name.startswith('torchvision.')]:
                if name != FUNCTIONAL_TENSOR:
                    del sys.modules[name]
            library = torch.library.Library('torchvision', 'FRAGMENT')
            for operator in ('nms', 'qnms'):
                library.define(f'{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
            _kept.append(library)
            self.loader.exec_module(module)


class _StandIn(ModuleType):
    """A module that imports the one it stands for when it is asked for something; see :func:`later`."""

    def __init__(self, name: str, functions: Sequence[str]) -> None:
        super().__init__(name)
        for function in functions:
            self.__dict__[function] = functools.partial(self._call, function)

    def _call(self, function: str, *args: object, **kwargs: object) -> object:
        return getattr(self._real(), function)(*args, **kwargs)

    def _real(self) -> ModuleType:
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            del sys.modules[name]
        return importlib.import_module(self.__name__)

    def __getattr__(self, name: str) -> object:
        if name.startswith('__') and name != '__version__':
            raise AttributeError(name)
        return getattr(self._real(), name)


@contextmanager
def later(modules: _Later) -> Iterator[None]:
    """Keeps what is imported within from importing modules for functions that it may never call.

    Meanwhile a module that is not there yet is one that has the functions named, and those of its modules that are
    named too. What is asked of these is asked of the real module, then imported. This saves a second of torch's
    compiler, half a second of ``scipy``, and torchvision.
    """
    stand_ins = {name: _StandIn(name, functions) for name, functions in modules.items() if name not in sys.modules}
    for name, stand_in in stand_ins.items():
        parent, _, last = name.rpartition('.')
        if parent in stand_ins:
            stand_ins[parent].__dict__[last] = stand_in
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


def wrap_init(
    cls: Any,
    before: Callable[[dict[str, Any]], None] | None = None,
    after: Callable[[Any, dict[str, Any]], None] | None = None,
) -> None:
    """Runs ``before(arguments)`` (it may change them) before ``cls.__init__`` and ``after(self, arguments as given)``
    behind it; the signature stays visible."""
    original = cls.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(self: object, *args: object, **kwargs: object) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        if before is not None:
            before(bound.arguments)
        original(*bound.args, **bound.kwargs)
        if after is not None:
            after(self, given)

    cls.__init__ = init
