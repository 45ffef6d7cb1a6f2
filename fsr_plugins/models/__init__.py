"""Models: the base of every method, its parts, strategies of evaluation, and models that belong to no method."""

from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import StrictOptions, TrainOptions
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.gan import GANModel
from fsr_plugins.models.hosted import HostedModel
from fsr_plugins.models.linear import LinearModel
from fsr_plugins.models.networks import Net
from fsr_plugins.models.recogniser import RecogniserModel
from fsr_plugins.models.set_generation import SetGeneration, SuperResolveModel
from fsr_plugins.models.strategies import Evaluation, GeneratedFaces, NoEvaluation, Recognition, SuperResolution
from fsr_plugins.models.supervised import SupervisedModel
from fsr_plugins.values import Block

__all__ = [
    'Block',
    'Evaluation',
    'FSRModel',
    'GANModel',
    'GeneratedFaces',
    'HostedModel',
    'LinearModel',
    'Loss',
    'Net',
    'NoEvaluation',
    'RecogniserModel',
    'Recognition',
    'SetGeneration',
    'StrictOptions',
    'SuperResolution',
    'SuperResolveModel',
    'SupervisedModel',
    'TrainOptions',
]
