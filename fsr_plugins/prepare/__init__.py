"""``fsr prepare``: one module a dataset, found by being here.

A preparer from outside calls :func:`register` in a module that an entry point of the group ``fsr_plugins`` names.
"""

from __future__ import annotations

import importlib
import pkgutil

from fsr_plugins.prepare.base import PREPARERS, Prepared, Preparer, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')

__all__ = ['PREPARERS', 'Prepared', 'Preparer', 'register']
