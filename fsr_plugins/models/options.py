"""The place of these classes in version 0.1; it goes with version 0.3."""

from fsr_plugins.config.options import StrictOptions, TrainOptions
from fsr_plugins.models.legacy import warn
from fsr_plugins.values import Block

__all__ = ['Block', 'StrictOptions', 'TrainOptions']

warn('fsr_plugins.models.options', 'import these classes from fsr_plugins.config.options')
