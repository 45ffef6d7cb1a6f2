"""A stage of an experiment: its options, typed, and where they were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fsr_plugins.config.declared import DeclaredNetwork
from fsr_plugins.config.hosted import is_hosted
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.overrides import GIVEN
from fsr_plugins.config.schema import generates_set
from fsr_plugins.config.settings import NetworkOptions, SetOptions, StageSettings, read_settings
from fsr_plugins.config.yamlfile import Keys, Places
from fsr_plugins.registry import lookup
from fsr_plugins.values import Options


@dataclass(frozen=True)
class Stage:
    """One stage: a complete BasicSR experiment."""

    name: str
    opt: Options  #: complete, plain options; references are paths
    folder: Path  #: experiments/<experiment>/<stage>
    needs: tuple[str, ...] = ()  #: the stages whose results it takes
    places: Places = field(default_factory=dict, repr=False, compare=False)
    file: Path = Path()

    @cached_property
    def options(self) -> StageSettings:
        """The options, typed and with their defaults."""
        return read_settings(self.opt)

    @property
    def model(self) -> type[Any]:
        """The class that the stage is trained or made by."""
        return lookup('models', self.options.model_type)

    @cached_property
    def train(self) -> TrainOptions:
        """The block ``train``, as the model declares it. A stage that makes a set has none."""
        options: TrainOptions = self.model.Train.model_validate(self.options.train or {})
        return options

    @property
    def data(self) -> SetOptions:
        """The set that is trained on, or gone over."""
        return self.options.sets['train']

    @property
    def declared(self) -> Mapping[str, DeclaredNetwork]:
        """What the model does with each of its networks, by label."""
        return self.model.declared_networks(self.opt)

    @property
    def networks(self) -> dict[str, NetworkOptions]:
        """The networks that the options give, by label, in the model's order."""
        found = {label: self.options.network(label) for label in self.declared}
        return {label: network for label, network in found.items() if network.block is not None}

    @property
    def result_label(self) -> str:
        """The network that is the result."""
        label: str = self.model.result_label(self.opt)
        return label

    @property
    def generates_set(self) -> bool:
        """Whether the stage makes a set of images instead of training."""
        return generates_set(self.model)

    @property
    def is_hosted(self) -> bool:
        """Whether the model is none of this toolkit's."""
        return is_hosted(self.model)

    def where(self, keys: Keys) -> str:
        """``file:line`` of a key, or of the nearest mapping around it that was written.

        Of a mapping of which ``--set`` has given a part, that too: either may be what is wrong.
        """
        return where(self.places, keys, self.file)


def place_of(places: Places, keys: Keys, file: Path) -> str:
    """``file:line`` of a key, or of the nearest mapping around it that was written; else the file."""
    for length in range(len(keys), 0, -1):
        if keys[:length] in places:
            return places[keys[:length]]
    return str(file)


def where(places: Places, keys: Keys, file: Path) -> str:
    """See :meth:`Stage.where`."""
    place = place_of(places, keys, file)
    parts = [at for key, at in places.items() if key[: len(keys)] == keys and len(key) > len(keys) > 0]
    if len(keys) == 2 and keys[0] == 'datasets':  # a set has to fit the scale, too
        parts.append(places.get(('scale',), place))
    given = dict.fromkeys(at for at in parts if at.startswith(GIVEN) and at != place)
    return ' with '.join([place, *given])
