"""Models: the base of every method, and plain supervised training for the baselines."""

from fsr_plugins.config.options import Block, StrictOptions, TrainOptions
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.models.recogniser import RecogniserModel
from fsr_plugins.models.set_generation import ProductionModel, SuperResolveModel
from fsr_plugins.models.supervised import SupervisedModel

__all__ = [
    'Block',
    'FSRModel',
    'Net',
    'ProductionModel',
    'RecogniserModel',
    'StrictOptions',
    'SuperResolveModel',
    'SupervisedModel',
    'TrainOptions',
]
