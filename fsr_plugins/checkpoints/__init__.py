"""Checkpoints: the one place that knows how network files are laid out, read, checked, written and described."""

from fsr_plugins.checkpoints.fitting import differences, load_weights
from fsr_plugins.checkpoints.layout import (
    META,
    PARAMS,
    PARAMS_EMA,
    arch_of,
    label_of,
    network_file,
    state_in,
    unwrapped,
)
from fsr_plugins.checkpoints.loading import described, load
from fsr_plugins.checkpoints.reading import load_state, read_weights
from fsr_plugins.checkpoints.writing import describe, save_network, write_tensors

__all__ = [
    'META',
    'PARAMS',
    'PARAMS_EMA',
    'arch_of',
    'describe',
    'described',
    'differences',
    'label_of',
    'load',
    'load_state',
    'load_weights',
    'network_file',
    'read_weights',
    'save_network',
    'state_in',
    'unwrapped',
    'write_tensors',
]
