"""BasicSR's five registries and one more for degradations; finding plugins; building what an option file names."""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fsr_plugins.errors import UserError, shown, why_not_imported
from fsr_plugins.mending import later, registry_module, without_collection

if TYPE_CHECKING:
    from basicsr.utils.registry import Registry
    from torch import nn

_basicsr = registry_module()
ARCH_REGISTRY: Registry = _basicsr.ARCH_REGISTRY
DATASET_REGISTRY: Registry = _basicsr.DATASET_REGISTRY
LOSS_REGISTRY: Registry = _basicsr.LOSS_REGISTRY
METRIC_REGISTRY: Registry = _basicsr.METRIC_REGISTRY
MODEL_REGISTRY: Registry = _basicsr.MODEL_REGISTRY
DEGRADATION_REGISTRY: Registry = _basicsr.Registry('degradation')

REGISTRIES: dict[str, Registry] = {
    'archs': ARCH_REGISTRY,
    'losses': LOSS_REGISTRY,
    'models': MODEL_REGISTRY,
    'datasets': DATASET_REGISTRY,
    'metrics': METRIC_REGISTRY,
    'degradations': DEGRADATION_REGISTRY,
}

#: The toolkit's own rooms that register something when imported.
ROOMS = ('archs', 'losses', 'degradations', 'metrics', 'portraits.store', 'data', 'models')

#: By registry, what makes a class that option files name one that this toolkit can use; see ``models.hosted``.
ADAPTORS: dict[str, Callable[[Any], Any]] = {}

ENTRY_POINT_GROUP = 'fsr_plugins'
_METHODS = 'fsr_plugins.methods'
#: Characters of a name that are compared with others.
_LONGEST_NAME = 100
#: How alike a name and another must be for a guess: of few names, and of many.
_ALIKE, CLOSE = 0.5, 0.8


#: What is registered by one room, and by none of the toolkit's own methods.
_ONE_ROOM = {'metrics': 'metrics', 'degradations': 'degradations'}


def load_plugins_of(kind: str) -> None:
    """:func:`load_plugins` of one registry: of what needs neither BasicSR nor the methods, less is imported."""
    if kind not in _ONE_ROOM:
        load_plugins()
        return
    with without_collection(), later({'cv2': ()}):
        importlib.import_module(f'fsr_plugins.{_ONE_ROOM[kind]}')
    load_outside_plugins()


def load_outside_plugins() -> None:
    """The entry points of installed packages but our own; what they need they import themselves.

    Raises:
        UserError: as :func:`load_plugins`.
    """
    _import_entry_points(outside_only=True)


def load_plugins(modules: Mapping[str, str] = MappingProxyType({}), *, methods: bool = True) -> None:
    """Imports what registers itself: the toolkit's rooms, entry points of the group ``fsr_plugins``, and ``modules``.

    Args:
        modules: names of modules, each with the place where it is named: ``file:line: key 'plugins'``.
        methods: the toolkit's own methods too; otherwise :func:`lookup` imports the one that it needs.

    Raises:
        UserError: a plugin is not there, or fails to import; the message says at which line of its own.
    """
    with without_collection():
        for room in ('basicsr', *(f'fsr_plugins.{room}' for room in ROOMS)):
            importlib.import_module(room)
        _import_entry_points(outside_only=not methods)
    for module, place in modules.items():
        _import(module, f'{place}: the plugin {shown(module)}')


def _import_entry_points(outside_only: bool = False) -> None:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        module = point.value.partition(':')[0]
        if not (outside_only and module.startswith(f'{_METHODS}.')):
            _import(module, f"The plugin '{module}' (from the entry point '{point.name}')")


def _import_method_of(name: str) -> None:
    """Imports the toolkit's own method in whose files a class or function of that name is defined, if there is one."""
    defined = re.compile(rf'^(class|def) {re.escape(name)}\b', re.MULTILINE)
    spec = importlib.util.find_spec(_METHODS)
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        for file in Path(folder).glob('*/*.py'):
            if defined.search(file.read_text('utf-8')):
                with without_collection():
                    importlib.import_module(f'{_METHODS}.{file.parent.name}')


def _import(module: str, plugin: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ''
        if not f'{module}.'.startswith(f'{missing}.'):
            raise UserError(f'{plugin} cannot be imported: {why_not_imported(module, error)}') from error
        package, _, _ = missing.rpartition('.')
        beside = pkgutil.iter_modules(sys.modules[package].__path__ if package else None)
        names = [each.name for each in beside if package or _is_of_the_user(each)]
        meant = nearest(missing.rpartition('.')[2], names, CLOSE)
        hint = f" Did you mean '{package}{'.' if package else ''}{meant}'?" if meant else ''
        raise UserError(
            f"{plugin} is not found: there is no module '{missing}'.{hint} Install it, or put its folder on PYTHONPATH."
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(f'{plugin} cannot be imported: {why_not_imported(module, error)}') from error


def _is_of_the_user(module: pkgutil.ModuleInfo) -> bool:
    """Whether a module is neither Python's own nor one of the many that are installed."""
    folder = Path(getattr(module.module_finder, 'path', ''))
    installed = {'site-packages', 'dist-packages'} & set(folder.parts)
    return module.name not in sys.stdlib_module_names and not installed


def near(name: str, candidates: Iterable[str], cutoff: float = _ALIKE) -> str:
    """`` Did you mean 'x'?`` for the :func:`nearest` candidate, or an empty string."""
    found = nearest(name, candidates, cutoff)
    return f" Did you mean '{found}'?" if found else ''


def nearest(name: str, candidates: Iterable[str], cutoff: float = _ALIKE) -> str | None:
    """The nearest candidate (case aside, exchanged letters first), if one is at least ``cutoff`` of 1 alike."""
    name = name[:_LONGEST_NAME]
    spellings: dict[str, str] = {}
    for candidate in candidates:
        spellings.setdefault(candidate.lower(), candidate)
    found = difflib.get_close_matches(name.lower(), spellings, n=3, cutoff=cutoff)
    # The sort is stable: among candidates of one kind the order of likeness stays.
    found.sort(key=lambda each: sorted(each) != sorted(name.lower()))
    return spellings[found[0]] if found else None


def lookup(kind: str, name: str) -> Any:
    """The class or function registered as ``name`` in the registry ``kind`` (a key of :data:`REGISTRIES`).

    Raises:
        UserError: nothing of that name; the nearest name is suggested.
    """
    found = registered(kind, name)
    if found is None:
        hint = near(name, REGISTRIES[kind].keys()) or f' `fsr list {kind}` shows all.'
        one = {'losses': 'loss'}.get(kind, kind.removesuffix('s'))
        raise UserError(f'No {one} is named {shown(name)}.{hint}')
    return ADAPTORS.get(kind, _as_it_is)(found)


def registered(kind: str, name: str) -> Any:
    """What is registered as ``name``, as it is, with as few plugins imported as possible; None where nothing is."""
    registry = REGISTRIES[kind]
    # BasicSR registers two of its archs under a suffix, so that other packages may use their plain names.
    names = (name, f'{name}_basicsr')
    imports = (partial(load_plugins, methods=False), partial(_import_method_of, name), load_plugins)
    for bring in imports:
        if any(each in registry for each in names):
            break
        bring()
    return next((registry.get(each) for each in names if each in registry), None)


def _as_it_is(found: Any) -> Any:
    return found


def build(kind: str, block: Mapping[str, Any]) -> Any:
    """Builds the object a ``type:`` block names, with the block's other keys as arguments.

    Raises:
        UserError: no such type, or arguments that its signature does not take.
    """
    arguments = dict(block)
    name = arguments.pop('type', None)
    if name is None:
        raise UserError(f"A block for one of {kind} has no key 'type': {shown(dict(block))}.")
    target = lookup(kind, name)
    try:
        return target(**arguments)
    except TypeError as error:
        raise UserError(f"'{name}' cannot be built with {shown(arguments)}: {error}.") from error


def build_network(block: Mapping[str, Any]) -> nn.Module:
    """Builds the arch that ``block`` (``type`` and arguments) names; the block is left as it is.

    Raises:
        UserError: as :func:`build`.
    """
    return build('archs', copy.deepcopy(dict(block)))
