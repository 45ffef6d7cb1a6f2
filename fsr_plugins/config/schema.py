"""What a stage's options may be; one definition that checks, gives the defaults and explains.

A stage is checked as it stands after inheritance, ``--set`` and the merging of the common part.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from fsr_plugins.config.blocks import check_block, find_type
from fsr_plugins.config.dataset_keys import check_dataset
from fsr_plugins.config.declared import DeclaredModel
from fsr_plugins.config.evaluated import check_evaluation
from fsr_plugins.config.hosted import check_hosted, check_metric, is_hosted
from fsr_plugins.config.losses import loss_fields
from fsr_plugins.config.optimisers import optimizer_class, scheduler_class
from fsr_plugins.config.options import CompileMode, Seed, StrictOptions, TrainOptions
from fsr_plugins.config.problems import Problems
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.errors import UserError, misfit, shown
from fsr_plugins.metrics.base import no_metric
from fsr_plugins.registry import lookup
from fsr_plugins.threads import MOST_THREADS
from fsr_plugins.values import Block, Options

#: Blocks with a key ``type``, by the registry they are looked up in.
NamedBlocks = dict[str, Block]


class WandbOptions(StrictOptions):
    """``logger.wandb``; off without a project."""

    project: str | None = Field(None, description='of Weights & Biases; none: nothing is sent')
    resume_id: str | None = Field(None, description='the run to go on with')


class LoggerOptions(StrictOptions):
    """``logger``: none of it changes what is trained."""

    print_freq: int = Field(100, ge=1, description='iterations between two lines')
    save_checkpoint_freq: int = Field(5000, ge=1, description='iterations between two checkpoints')
    use_tb_logger: bool = Field(True, description='write TensorBoard files')
    wandb: WandbOptions | None = Field(None, description='Weights & Biases')
    keep_states: int = Field(3, ge=1, description='training states kept to resume from')

    @model_validator(mode='after')
    def _something_is_sent(self) -> Self:
        if self.wandb is not None and self.wandb.project and not self.use_tb_logger:
            raise misfit("'wandb' is sent what TensorBoard gets, and 'use_tb_logger' is false: one of them has to go")
        return self


class ValOptions(StrictOptions):
    """``val``: what validation computes and how often."""

    val_freq: int = Field(5000, ge=1, description='iterations between two validations')
    save_img: bool = Field(False, description='write the pictures of the result')
    pbar: bool | None = Field(False, description='of BasicSR; no effect here')
    suffix: str | None = Field(None, description='suffix of the names of pictures that `fsr test` writes')
    metrics: NamedBlocks | None = Field(None, description='what is measured: by name, a block of a registered metric')


#: What ``auto`` means.
_AUTO = 'auto: {}, what is faster here; measured before the training'


class StageOptions(StrictOptions):
    """The top level of a stage; ``network_<x>`` and the model's own ``Options`` stand beside these."""

    name: str = Field(description='of the experiment, and of its folder in experiments/')
    model_type: str = Field(description='a registered model: `fsr list models`')
    scale: int = Field(gt=0, description='how many times the networks enlarge')
    num_gpu: Literal['auto'] | int = Field('auto', description='0: the CPU; auto: what is there')
    manual_seed: Seed = Field(0, description='of everything that is random')
    plugins: list[str] = Field([], description='modules to import first, for what they register')
    degradation: Block | None = Field(None, description='makes LR of HR: a block of a registered degradation')
    datasets: dict[str, Block] = Field({}, description='train, and val, test, val_… and test_…')
    path: Options = Field({}, description='weights to begin with')
    train: Options | None = Field(None, description='of stages that train')
    val: Options | None = Field(None, description='validation; none without')
    logger: Options = Field({}, description='what is logged, written and kept')
    dist_params: Options | None = Field(None, description="of several processes: 'backend', 'port'")
    precision: Literal['fp32', 'bf16', 'fp16', 'auto'] = Field('fp32', description=_AUTO.format('fp32 or bf16'))
    compile: bool | CompileMode | Literal['auto'] = Field(
        False, description=f'torch.compile of what is trained, or its mode; {_AUTO.format("on GPUs")}'
    )
    channels_last: bool | Literal['auto'] = Field(
        False, description=f'the layout of images in memory; {_AUTO.format("either")}'
    )
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | Literal['auto'] | None = Field(
        None,
        description="threads that compute on a CPU; auto: fewer while others use the cores; default: torch's number",
    )
    deterministic: bool = Field(False, description='use only algorithms that give the same bits each time')
    find_unused_parameters: bool = Field(False, description="of torch's DistributedDataParallel")


def generates_set(model: object) -> bool:
    """Whether a model's stage makes a set of images instead of training."""
    return bool(getattr(model, 'generates_set', False))


def check_stage(stage: str, opt: Options, problems: Problems, trains: bool = True) -> None:
    """Checks one stage's complete options; everything wrong is added to ``problems``.

    Args:
        trains: whether the stage is there to be trained; else its networks are only measured.
    """
    model = _model(stage, opt, problems)
    blocks = {key for key in opt if key.startswith('network_')}
    own = getattr(model, 'Options', None)
    hosted = is_hosted(model)
    extra = set(opt) if hosted else blocks | (set(own.model_fields) if own is not None else set())
    of = f"stage '{stage}'"
    problems.validate(StageOptions, opt, (), extra, of)
    if model is not None and own is not None:
        given = {key: value for key, value in opt.items() if key in own.model_fields}
        problems.validate(own, given, (), set(), model.__name__)
    if isinstance(opt.get('num_gpu'), int) and opt['num_gpu'] < 0:
        problems.add(('num_gpu',), f"is {opt['num_gpu']}, but must be 'auto' or 0 and more.")
    if opt.get('degradation') is not None:
        check_block(opt['degradation'], ('degradation',), problems, 'degradations')
    _check_datasets(stage, opt, problems, 'val' if generates_set(model) else 'train', trains)
    _check_val_and_logger(opt, problems, hosted)
    if model is None:
        return
    if not trains and opt.get('val') is None:
        problems.add(('val',), "is missing: say what is measured ('metrics'), or 'save_img: true' for pictures.")
    if hosted:
        check_hosted(model.__name__, opt, problems, trains)
        return
    _check_networks(stage, model, opt, problems, trains)
    _check_path(opt.get('path'), model, problems)
    if generates_set(model):
        for key in ('train', 'val'):
            if opt.get(key) is not None:
                problems.add((key,), f"is for training, and stage '{stage}' trains nothing: set '{key}: null' in it.")
        return
    if trains:
        _check_train(stage, model, opt, problems)
    check_evaluation(model, opt, problems)


def _model(stage: str, opt: Options, problems: Problems) -> DeclaredModel | None:
    name = opt.get('model_type')
    if not isinstance(name, str):
        return None  # said by StageOptions
    try:
        model: DeclaredModel = lookup('models', name)
    except UserError as error:
        problems.add(('model_type',), f'is {shown(name)}: {error}')
        return None
    if not hasattr(model, 'networks'):
        problems.add(
            ('model_type',),
            f"is '{name}', and stage '{stage}' needs an FSRModel or another class derived from BasicSR's BaseModel.",
        )
        return None
    return model


def _check_networks(stage: str, model: DeclaredModel, opt: Options, problems: Problems, trains: bool) -> None:
    known = {'network_' + label.removeprefix('net_') for label in model.networks}
    for key, block in opt.items():
        if not key.startswith('network_'):
            continue
        if key not in known:
            problems.unknown((key,), known, model.__name__)
        elif block is not None:
            check_block(block, (key,), problems, 'archs')
    for label, net in model.networks.items():
        key = 'network_' + label.removeprefix('net_')
        wanted = trains or not net.train_only
        if wanted and opt.get(key) is None and not net.optional:
            problems.add((key,), f"is missing: {model.__name__} of stage '{stage}' needs it.")


def _check_path(path: object, model: DeclaredModel, problems: Problems) -> None:
    if not isinstance(path, dict):
        return
    types: dict[str, tuple[type, str]] = {'resume_state': (str, 'a path')}
    for label in model.networks:
        suffix = label.removeprefix('net_')
        types[f'pretrain_network_{suffix}'] = (str, 'a path')
        types[f'strict_load_{suffix}'] = (bool, 'true or false')
        types[f'param_key_{suffix}'] = (str, "'params' or 'params_ema'")
    for key, value in path.items():
        if key not in types:
            problems.unknown(('path', key), set(types), "'path'")
        elif value is not None and not isinstance(value, types[key][0]):
            problems.add(('path', key), f'is {shown(value)}, but must be {types[key][1]}.')


def _check_train(stage: str, model: DeclaredModel, opt: Options, problems: Problems) -> None:
    train = opt.get('train')
    if not isinstance(train, dict):
        if train is None:
            problems.add(('train',), f"is missing: stage '{stage}' needs it.")
        return
    options: type[TrainOptions] = getattr(model, 'Train', TrainOptions)
    trained = [label.removeprefix('net_') for label, net in model.networks.items() if not (net.frozen or net.solved)]
    beside = {f'{kind}_{suffix}' for kind in ('optim', 'scheduler') for suffix in trained}
    read = problems.validate(options, train, ('train',), beside, f"'train' of {model.__name__}")
    for label, reason in read.required_networks().items() if read is not None else ():
        key = 'network_' + label.removeprefix('net_')
        if opt.get(key) is None and model.networks[label].optional:
            problems.add((key,), f"is missing: {reason} of stage '{stage}' needs it.")
    for key, value in train.items():
        keys = ('train', key)
        if value is None:
            continue
        if key == 'optim' or key in beside and key.startswith('optim_'):
            check_block(value, keys, problems, optimizer_class, given=1)
        elif key == 'scheduler' or key in beside and key.startswith('scheduler_'):
            check_block(value, keys, problems, scheduler_class, given=1)
            _check_lists(value, keys, problems)
        elif key in loss_keys(model):
            check_block(value, keys, problems, 'losses')
    default = options.model_fields['optim'].default
    for suffix in trained:
        wanted = opt.get(f'network_{suffix}') is not None and default is None
        if wanted and train.get('optim') is None and train.get(f'optim_{suffix}') is None:
            problems.add(('train', 'optim'), f"is missing, and 'optim_{suffix}' too: net_{suffix} needs an optimiser.")


def _check_lists(block: object, keys: Keys, problems: Problems) -> None:
    """A scheduler's lists are of numbers; BasicSR's would take anything and never come to it."""
    for key, values in block.items() if isinstance(block, dict) else ():
        items = values if isinstance(values, list) else []
        odd = [item for item in items if isinstance(item, bool) or not isinstance(item, int | float)]
        if odd:
            problems.add((*keys, key), f'has {shown(odd[0])} in it, but must be a list of numbers.')


def loss_keys(model: object) -> set[str]:
    """The keys of ``train`` under which a model takes a loss's block."""
    options = getattr(model, 'Train', TrainOptions)
    # Methods of version 0.1 declare their losses as plain blocks.
    plain = {key for key, field in options.model_fields.items() if field.annotation in (Block, Block | None)}
    return loss_fields(options).keys() | plain - {'optim', 'scheduler'}


def loss_blocks(opt: Options) -> Options:
    """The losses of a stage's ``train`` by their keys, None for one that is switched off."""
    known = loss_keys(lookup('models', opt['model_type']))
    return {key: block for key, block in (opt.get('train') or {}).items() if key in known}


def _check_datasets(stage: str, opt: Options, problems: Problems, first: str, trains: bool) -> None:
    """Checks every set; that called ``train`` as one of the phase ``first``."""
    datasets = opt.get('datasets')
    if trains and (not isinstance(datasets, dict) or 'train' not in datasets):
        needs = f"stage '{stage}' needs data to train on; a file without it is for `fsr test`."
        problems.add(('datasets', 'train'), f'is missing: {needs}')
    if not trains and not datasets:
        problems.add(('datasets',), "is missing: sets to measure, 'test_1', 'test_2' …")
    named: dict[str, str] = {}
    for phase, block in (datasets if isinstance(datasets, dict) else {}).items():
        keys = ('datasets', phase)
        name = block.get('name') if isinstance(block, dict) and phase != 'train' else None
        if isinstance(name, str) and named.setdefault(name, phase) != phase:
            problems.add(
                (*keys, 'name'), f"is {shown(name)}, as that of 'datasets.{named[name]}': figures go by it, change one."
            )
        if phase != 'train' and phase.split('_')[0] not in ('val', 'test'):
            problems.add(keys, "must be named 'train', 'val', 'test', or 'val_…' and 'test_…'.")
        scale = opt['scale'] if isinstance(opt.get('scale'), int) and opt['scale'] > 0 else 1
        used_as = first if phase == 'train' else phase.split('_')[0]
        check_dataset(block, keys, problems, {'phase': used_as, 'scale': scale})
        if phase == 'train' and isinstance(block, dict) and 'batch_size_per_gpu' not in block:
            problems.add((*keys, 'batch_size_per_gpu'), 'is missing: how many images a batch has.')


def _check_val_and_logger(opt: Options, problems: Problems, hosted: bool) -> None:
    if isinstance(opt.get('logger'), dict):
        problems.validate(LoggerOptions, opt['logger'], ('logger',), set(), "'logger'")
    val = opt.get('val')
    if not isinstance(val, dict):
        return
    problems.validate(ValOptions, val, ('val',), set(val) if hosted else set(), "'val'")
    metrics = val.get('metrics')
    for name, block in (metrics if isinstance(metrics, dict) else {}).items():
        keys = ('val', 'metrics', name)
        if hosted:
            check_metric(block, keys, problems)
            continue
        metric = find_type(block, keys, problems, 'metrics')
        if metric is None:
            continue
        if hasattr(metric, 'update'):
            check_block(block, keys, problems, 'metrics')
        else:
            problems.add((*keys, 'type'), f"is '{block['type']}', {no_metric(metric)}")
