"""A stage's options as they are read: typed, with the defaults that :mod:`fsr_plugins.config.schema` declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import ConfigDict, ValidationError, field_validator

from fsr_plugins.checkpoints import PARAMS, Training
from fsr_plugins.config.inputs import Change
from fsr_plugins.config.schema import LoggerOptions, NamedBlocks, StageOptions, ValOptions
from fsr_plugins.data.options import DatasetOptions
from fsr_plugins.errors import UserError, shown
from fsr_plugins.values import Block, Options, Record
from fsr_plugins.wording import wanted

#: Images of a batch where nothing is learned of it, and decoding threads, where a set does not say.
BATCH_SIZE, THREADS = 16, 2
_NETWORK, _NET = 'network_', 'net_'


def option_name(label: str) -> str:
    """``network_g`` for ``net_g``."""
    return _NETWORK + label.removeprefix(_NET)


#: The options whose value may be found by measuring.
MEASURED = ('precision', 'channels_last', 'compile')

#: Stores of LR that a training set can name: such a training learns little or nothing of ``degradation``.
STORED_LR = ('dataroot_lq', 'dataroot_real_lq')


@dataclass(frozen=True)
class SetOptions:
    """A block of ``datasets``, as far as others than the dataset itself read it."""

    phase: str  #: train, val, test, val_…, test_…
    block: Block  #: all of it, as the dataset takes it

    @property
    def name(self) -> str:
        """What it is called in logs and results."""
        return self._common.name if 'name' in self.block else self.phase

    @property
    def type(self) -> str:
        """The registered class."""
        return self._common.type

    @cached_property
    def _common(self) -> DatasetOptions:
        """What every set may say."""
        common = {key: value for key, value in self.block.items() if key in DatasetOptions.model_fields}
        return DatasetOptions.model_validate(common)

    @property
    def batch_size(self) -> int:
        """Images a batch and process."""
        return self._common.batch_size_per_gpu or BATCH_SIZE

    @property
    def threads(self) -> int:
        """Decoding threads a process."""
        threads = self._common.num_worker_per_gpu
        return THREADS if threads is None else threads

    @property
    def gt_size(self) -> int | None:
        """The side of HR crops; None where images are taken whole."""
        return self.block.get('gt_size')

    @property
    def validates(self) -> bool:
        """Whether it is for validation or testing."""
        return self.phase.split('_')[0] in ('val', 'test')


@dataclass(frozen=True)
class NetworkOptions:
    """A network of a stage: its block, and the weights that it begins with."""

    label: str  #: net_<x>
    block: Block | None
    weights: str | None
    params: str = PARAMS  #: which weights of the file
    strict: bool = True

    @property
    def weights_key(self) -> str:
        """The key of ``path`` that names the weights."""
        return f'pretrain_{option_name(self.label)}'

    @property
    def params_key(self) -> str:
        """The key of ``path`` that says which weights of the file."""
        return f'param_key_{self.label.removeprefix(_NET)}'


class _ReadValOptions(ValOptions):
    """``val`` as it is read: hosted models have keys of their own in it."""

    model_config = ConfigDict(extra='ignore', strict=True)


class StageSettings(StageOptions):
    """All options of a stage; those of a model may leave out what it does not need, and have run-time keys."""

    model_config = ConfigDict(extra='allow', strict=True)

    name: str = ''
    model_type: str = ''
    scale: int = 1
    val: _ReadValOptions | None = None  # type: ignore[assignment]
    logger: LoggerOptions = LoggerOptions.model_validate({})  # type: ignore[assignment]
    is_train: bool = True
    dist: bool = False
    rank: int = 0

    @field_validator('logger', 'datasets', 'path', mode='before')
    @classmethod
    def _nothing_said(cls, value: object) -> object:
        return {} if value is None else value

    @cached_property
    def sets(self) -> dict[str, SetOptions]:
        """The blocks of ``datasets`` by phase."""
        return {phase: SetOptions(phase, block) for phase, block in self.datasets.items()}

    @cached_property
    def luma(self) -> bool:
        """Whether networks take and give the luma alone, as the sets say by ``color: y``.

        Raises:
            UserError: some sets say so and others do not.
        """
        said = {phase: data.block.get('color') == 'y' for phase, data in self.sets.items()}
        if len(set(said.values())) > 1:
            others = ', '.join(f"'datasets.{phase}'" for phase, luma in said.items() if not luma)
            raise UserError(f"Some sets say 'color: y' and {others} not: one network takes the same of all.")
        return any(said.values())

    @property
    def validation_sets(self) -> list[SetOptions]:
        """Those that are validated on."""
        return [data for data in self.sets.values() if data.validates]

    @property
    def metrics(self) -> NamedBlocks:
        """The blocks of ``val.metrics`` by name."""
        return (self.val.metrics if self.val is not None else None) or {}

    @property
    def val_freq(self) -> int:
        """Iterations between two validations; 0: none."""
        return self.val.val_freq if self.val is not None else 0

    def network(self, label: str) -> NetworkOptions:
        """What the options say of the network ``net_<x>``."""
        suffix = label.removeprefix(_NET)
        return NetworkOptions(
            label,
            (self.model_extra or {}).get(option_name(label)),
            self.path.get(f'pretrain_{option_name(label)}'),
            self.path.get(f'param_key_{suffix}') or PARAMS,
            self.path.get(f'strict_load_{suffix}') is not False,
        )

    def training(self, manifests: Record | None = None, history: Sequence[Change] = ()) -> Training:
        """What the checkpoints of the stage say of it; of its degradation nothing where LR is stored, paired or not."""
        train = self.sets.get('train')
        stored = train is not None and any(train.block.get(key) is not None for key in STORED_LR)
        return Training(
            self.name,
            self.scale,
            {phase: data.gt_size for phase, data in self.sets.items()},
            {phase: data.name for phase, data in self.sets.items()},
            None if stored else self.degradation,
            manifests or {},
            history,
            {key: getattr(self, key) for key in MEASURED},
        )

    @property
    def leaves_to_measure(self) -> list[str]:
        """Which of :data:`MEASURED` are ``auto``."""
        return [key for key in MEASURED if getattr(self, key) == 'auto']

    @property
    def resume_state(self) -> str | None:
        """The training state of another experiment to begin with."""
        return self.path.get('resume_state')


def read_settings(opt: Options) -> StageSettings:
    """The options of a stage that has been checked, or of a model, as BasicSR hands them on.

    Raises:
        UserError: a value is none that the option can have.
    """
    try:
        return StageSettings.model_validate(dict(opt))
    except ValidationError as error:
        first = error.errors()[0]
        key = '.'.join(map(str, first['loc']))
        raise UserError(f"The option '{key}' must be {wanted(first)}, not {shown(first['input'])}.") from error
