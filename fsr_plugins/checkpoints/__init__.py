"""Checkpoints: the one place that knows how network files are laid out, read, checked, written and described."""

from typing import TYPE_CHECKING

from fsr_plugins.checkpoints.building import construct, sketch
from fsr_plugins.checkpoints.bundled import bundled, bundled_file, resolved, summary
from fsr_plugins.checkpoints.fitting import check_fit, differences, fit, load_weights
from fsr_plugins.checkpoints.layout import (
    AVERAGED_FIRST,
    META,
    PARAMS,
    PARAMS_EMA,
    StateDict,
    label_of,
    listed,
    network_file,
    state_in,
    unwrapped,
)
from fsr_plugins.checkpoints.loading import about, described, load
from fsr_plugins.checkpoints.meta import meta_in, meta_of, saw_crops_of_anything, trained_on
from fsr_plugins.checkpoints.others import package_versions
from fsr_plugins.checkpoints.reading import load_state, read_weights
from fsr_plugins.checkpoints.tensors import all_finite, check_finite, not_finite, tensors_in
from fsr_plugins.checkpoints.writing import Training, describe, save_network, write_tensors, write_weights

if TYPE_CHECKING:
    from fsr_plugins.checkpoints.meta_types import Meta, TrainedOn

__all__ = [
    'AVERAGED_FIRST',
    'META',
    'Meta',
    'PARAMS',
    'PARAMS_EMA',
    'StateDict',
    'TrainedOn',
    'Training',
    'about',
    'all_finite',
    'bundled',
    'bundled_file',
    'check_finite',
    'check_fit',
    'construct',
    'describe',
    'described',
    'differences',
    'fit',
    'label_of',
    'listed',
    'load',
    'load_state',
    'load_weights',
    'meta_in',
    'meta_of',
    'network_file',
    'not_finite',
    'package_versions',
    'read_weights',
    'resolved',
    'save_network',
    'saw_crops_of_anything',
    'sketch',
    'state_in',
    'summary',
    'tensors_in',
    'trained_on',
    'unwrapped',
    'write_tensors',
    'write_weights',
]


def __getattr__(name: str) -> object:
    """Types of pydantic's are brought when they are asked for."""
    if name not in ('Meta', 'TrainedOn'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from fsr_plugins.checkpoints import meta_types

    return getattr(meta_types, name)
