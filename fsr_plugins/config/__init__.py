"""Options: read, inherited, overridden, checked; an experiment and its typed stages."""

from fsr_plugins.config.experiment import (
    EXPERIMENTS,
    Experiment,
    Stage,
    compose,
    differences,
    dump,
    fingerprint,
    load,
    place_of,
    runtime,
)

__all__ = [
    'EXPERIMENTS',
    'Experiment',
    'Stage',
    'compose',
    'differences',
    'dump',
    'fingerprint',
    'load',
    'place_of',
    'runtime',
]
