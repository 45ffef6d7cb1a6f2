"""Checkpoints: the one place that knows how network files are laid out, read, checked, written and described."""

from fsr_plugins.checkpoints.fitting import differences, fit, load_weights
from fsr_plugins.checkpoints.layout import (
    AVERAGED_FIRST,
    META,
    PARAMS,
    PARAMS_EMA,
    Meta,
    StateDict,
    TrainedOn,
    arch_of,
    label_of,
    listed,
    meta_of,
    network_file,
    state_in,
    trained_on,
    unwrapped,
)
from fsr_plugins.checkpoints.loading import described, load
from fsr_plugins.checkpoints.reading import load_state, read_weights
from fsr_plugins.checkpoints.writing import describe, save_network, write_tensors

__all__ = [
    'AVERAGED_FIRST',
    'META',
    'PARAMS',
    'PARAMS_EMA',
    'Meta',
    'StateDict',
    'TrainedOn',
    'arch_of',
    'describe',
    'described',
    'differences',
    'fit',
    'listed',
    'load',
    'load_state',
    'load_weights',
    'meta_of',
    'label_of',
    'network_file',
    'read_weights',
    'save_network',
    'state_in',
    'trained_on',
    'unwrapped',
    'write_tensors',
]
