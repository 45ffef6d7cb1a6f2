"""BasicSR is mended whoever imports it first, as soon as ``fsr_plugins`` has been imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_BASICSR = 'basicsr'


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


class MendingFinder(MetaPathFinder):
    """Finds BasicSR as Python does, and has it loaded mended."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of BasicSR itself; of its modules and of all else nothing."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _BASICSR else None
        if spec is not None and spec.loader is not None:
            spec.loader = _MendingLoader(spec.loader)
        return spec


def mend_on_import() -> None:
    """Has BasicSR mended when it is imported; nothing is imported here."""
    if not any(isinstance(finder, MendingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, MendingFinder())
