"""The single checks of :mod:`fsr_plugins.preflight.inspection`.

Each returns warnings, or what has to wait for a stage (:class:`Later`), and raises UserError for what makes training
impossible.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sized
from pathlib import Path

import torch
from torch import nn

from fsr_plugins import losses
from fsr_plugins import weights as weight_files
from fsr_plugins.arguments import home_path
from fsr_plugins.checkpoints import PARAMS, check_fit, label_of, listed, load_state, load_weights
from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import source_stage, texts, unfinished_stage
from fsr_plugins.config.finished import is_finished, verified
from fsr_plugins.config.problems import explained, explained_wholly
from fsr_plugins.config.schema import loss_blocks
from fsr_plugins.config.settings import NetworkOptions, option_name
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.engine.lock import check_writable
from fsr_plugins.engine.set_generation import make_source
from fsr_plugins.engine.states import STATES, read_state
from fsr_plugins.errors import DamagedError, NoRoomError, UserError, shown
from fsr_plugins.models.gan import GANModel
from fsr_plugins.preflight.building import build_within_memory
from fsr_plugins.registry import lookup
from fsr_plugins.values import Block


class Later(str):
    """Said of what cannot be looked at, since a stage has yet to make it."""


def devices(stage: Stage) -> list[str]:
    """``num_gpu`` against the GPUs of this machine."""
    wanted, there = stage.options.num_gpu, torch.cuda.device_count()
    if wanted != 'auto' and wanted > there:
        raise UserError(
            f"{stage.where(('num_gpu',))}: key 'num_gpu' is {wanted}, but this machine has {there} GPUs; "
            "'auto' takes what is there."
        )
    return []


def scale(stage: Stage) -> list[str]:
    """``scale`` against that of the degradation."""
    reduces, enlarges = (stage.options.degradation or {}).get('scale'), stage.options.scale
    if isinstance(reduces, int) and reduces != enlarges:
        places = dict.fromkeys([stage.where(('degradation', 'scale')), stage.where(('scale',))])
        raise UserError(
            f"{' and '.join(places)}: key 'degradation.scale' is {reduces} and 'scale' of stage '{stage.name}' is "
            f'{enlarges}: make them equal.'
        )
    return []


def losses_of(stage: Stage) -> list[str]:
    """Whether a model that trains against a discriminator does so; what it leaves out is meant, or forgotten."""
    if stage.model is not GANModel or 'gan_opt' in stage.train.losses:
        return []
    place = f"{stage.where(('train',))}: key 'train.gan_opt' is not given"
    return [f"{place}: GANModel has no adversarial loss, a 'network_d' learns nothing; it trains as SupervisedModel."]


#: What to give instead of a state that does not fit.
_OTHER_STATE = 'Name another state, or leave the key out.'


def resume_state(stage: Stage, nets: Mapping[str, nn.Module]) -> list[str]:
    """The state of another experiment that ``path.resume_state`` names; one of the stage's own is taken before it."""
    named = stage.options.resume_state
    if named is None or stage.generates_set or any((stage.folder / STATES).glob('*.state')) or is_finished(stage):
        return []
    place, total = f"{stage.where(('path', 'resume_state'))}: key 'path.resume_state'", stage.train.total_iter
    file = home_path(named)
    if not file.is_file():
        raise UserError(
            f"{place}: there is no file '{named}': name a training state (<iteration>.state), or leave it out."
        )
    try:
        content = load_state(file)
    except UserError as error:
        raise UserError(f'{place}: {error}') from error
    if isinstance(content, dict) and 'model' not in content and content.keys() >= {'epoch', 'iter', 'optimizers'}:
        raise UserError(
            f"{place}: '{named}' is a training state of BasicSR, which holds no weights. Begin with its network: "
            "'path.pretrain_network_g'."
        )
    try:
        state = read_state(file)
    except UserError as error:
        raise UserError(f'{place}: {error}') from error
    for label, net in nets.items():
        if not stage.declared[label].frozen:
            check_fit(
                net, state['model']['nets'].get(label, {}), f"{place}: {label} in '{named}'", instead=_OTHER_STATE
            )
    if state['iter'] > total:
        raise UserError(f"{place}: '{named}' is of iteration {state['iter']}, 'train.total_iter' is {total}: raise it.")
    return []


def results(stage: Stage) -> list[str]:
    """What a finished stage left, against what it promised."""
    verified(stage)
    return []


def roots(block: Block) -> list[str]:
    """The folders and the like that a set's block names."""
    return [text for key, value in block.items() if key.startswith('dataroot') for text in texts(value)]


def lacks_folders(experiment: Experiment, stage: Stage) -> bool:
    """Whether a set names a folder that is not there, and that no stage will make."""
    return any(
        '://' not in root and not unfinished_stage(experiment, stage, root) and not home_path(root).exists()
        for data in stage.options.sets.values()
        for root in roots(data.block)
    )


def data(experiment: Experiment, stage: Stage, phase: str) -> list[str]:
    """Builds one set and has it look at all its images; what an unfinished stage will make cannot be looked at."""
    data = stage.options.sets[phase]
    waiting = unfinished_stage(experiment, stage, data.block)
    if waiting:
        return [Later(f"The set '{data.name}' is checked when stage '{waiting}' has made it.")]
    place = stage.where(('datasets', phase))
    try:
        with explained(f"the set '{data.name}' cannot be built"):
            if stage.generates_set:
                dataset: Sized = make_source(stage.options)
            else:
                dataset = make_dataset(data, phase.split('_')[0], stage.options)
            if len(dataset) == 0:
                raise UserError(f"the set '{data.name}' is empty: correct the folder, or put images there.")
        if hasattr(dataset, 'check'):
            dataset.check(stage.options.scale)
    except DamagedError:
        raise  # without the place of the key, which is not wrong: said once of all that name the set
    except UserError as error:
        raise UserError(f"{place}: key 'datasets.{phase}': {error}") from error
    if phase == 'train' and stage.options.degradation and data.block.get('dataroot_lq') is not None:
        return [
            f"{stage.where(('degradation',))}: 'degradation' makes no LR of the set '{data.name}', which has its own "
            "('dataroot_lq'): remove one of them."
        ]
    return []


def networks(stage: Stage, nets: dict[str, nn.Module]) -> list[str]:
    """Builds every network of a stage into ``nets``, by ``net_<x>``."""
    on_gpu = stage.options.num_gpu != 0 and torch.cuda.is_available()
    for label, network in stage.networks.items():
        key, use = option_name(label), stage.declared[label]
        # What is trained on the CPU is held with its gradients and, by Adam, two moments.
        copies = 1 if on_gpu or use.frozen else 4
        what = f"{stage.where((key,))}: key '{key}' cannot be built"
        with explained_wholly(what):
            nets[label] = build_within_memory(network.block or {}, copies)
    return []


def weights(experiment: Experiment, stage: Stage, nets: dict[str, nn.Module]) -> list[str]:
    """Loads every ``path.pretrain_network_<x>`` into its network; of what is yet to be made, compares the options."""
    warnings = []
    for label, net in nets.items():
        network = stage.networks[label]
        path, key = network.weights, network.weights_key
        place = f"{stage.where(('path', key))}: key 'path.{key}'"
        if path is None:
            if stage.declared[label].frozen:
                warnings.append(f"{label} of stage '{stage.name}' is frozen, and no 'path.{key}' gives it weights.")
            continue
        source = source_stage(experiment, stage, path)
        if source is not None and not Path(path).exists():
            if network.strict:
                _compare_blocks(network, source, Path(path), place)
            continue
        if network.params_key in stage.options.path:
            warnings += _named_weights(network, stage)
        try:
            load_weights(net, path, param_key=network.params, strict=network.strict)
        except UserError as error:
            raise UserError(f'{place}: {error}') from error
    return warnings


def _named_weights(network: NetworkOptions, stage: Stage) -> list[str]:
    """Whether the file has the weights that ``path.param_key_<x>`` names; BasicSR takes ``params`` where it has not."""
    place = f"{stage.where(('path', network.params_key))}: key 'path.{network.params_key}'"
    content = load_state(str(network.weights))
    if not isinstance(content, dict) or network.params in content:
        return []
    lacks = f"'{network.weights}' has no {shown(network.params)}"
    if PARAMS not in content:
        raise UserError(f'{place}: {lacks}; its keys are: {listed(content)}.')
    return [f"{place}: {lacks}: '{PARAMS}' is taken."]


def _compare_blocks(network: NetworkOptions, source: Stage, path: Path, place: str) -> None:
    label = label_of(path)
    theirs_key = option_name(label)
    products = source.model.composite_blocks(source.opt)
    ours, theirs = network.block or {}, source.options.network(label).block or products.get(label)
    if theirs is None:
        raise UserError(f"{place}: stage '{source.name}' has no '{theirs_key}', so it will not make these weights.")
    for argument in sorted(ours.keys() | theirs.keys()):
        if ours.get(argument) != theirs.get(argument):
            raise UserError(
                f"{place}: the weights of stage '{source.name}' will not fit: '{theirs_key}.{argument}' is "
                f'{theirs.get(argument)!r} there and {ours.get(argument)!r} here; make them equal.'
            )


def requirements(experiment: Experiment, stage: Stage) -> list[str]:
    """Fetches the weight files that losses and metrics ask for, but those that a stage has yet to make."""
    warnings: list[str] = []
    wandb = stage.options.logger.wandb
    if wandb is not None and wandb.project and importlib.util.find_spec('wandb') is None:
        raise UserError(
            f"{stage.where(('logger', 'wandb'))}: key 'logger.wandb' needs the package 'wandb': "
            "pip install fsr_plugins[wandb], or leave out 'project'."
        )
    blocks: list[tuple[Keys, str, Block]] = [
        (('train', key), 'losses', block) for key, block in loss_blocks(stage.opt).items()
    ]
    metrics = stage.options.metrics
    blocks += [(('val', 'metrics', key), 'metrics', block) for key, block in metrics.items()]
    for keys, kind, block in blocks:
        waiting = unfinished_stage(experiment, stage, block)
        if waiting:
            when = f"are there when stage '{waiting}' has made them."
            warnings.append(Later(f"The weights for '{'.'.join(keys)}' {when}"))
            continue
        try:
            if kind == 'losses':
                needed = losses.requirements(block) if block else []
            else:
                options = {key: value for key, value in block.items() if key != 'type'}
                metric = lookup(kind, block['type'])
                # BasicSR's are functions, which need none.
                needed = metric.requirements(**options) if hasattr(metric, 'requirements') else []
            for weight in needed:
                weight_files.locate(weight)
        except UserError as error:
            raise UserError(f"{stage.where(keys)}: key '{'.'.join(keys)}': {error}") from error
    return warnings


def disk_bytes(experiment: Experiment, stage: Stage, nets: dict[str, nn.Module]) -> int:
    """About what a stage writes: training states (weights, average, Adam's two moments) and network files, or images.

    Images are written twice, in parts and then together; of a set that a stage has yet to make nothing is known.
    """
    if stage.generates_set:
        waiting = unfinished_stage(experiment, stage, stage.data.block)
        return 0 if waiting else 2 * 3 * int(make_source(stage.options).sizes().prod(axis=1).sum())
    uses = stage.declared
    trained = [net for label, net in nets.items() if not uses[label].frozen]
    once = sum(tensor.numel() * tensor.element_size() for net in trained for tensor in net.state_dict().values())
    averaged = 2 if stage.train.ema_decay else 1
    records, total = stage.options.logger, stage.train.total_iter
    saves = total // records.save_checkpoint_freq + 1
    # A state is saved before each validation too.
    val_freq = stage.options.val_freq
    states = saves + (total // val_freq if val_freq else 0)
    return once * ((averaged + 2) * min(states, records.keep_states) + averaged * saves)


def disk(experiment: Experiment, needed: int) -> list[str]:
    """Whether the experiments folder can be written to and has room for ``needed`` bytes.

    Raises:
        UserError: it may not be written to.
        NoRoomError: it has less room.
    """
    folder = check_writable(experiment.folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(
            f"'{folder}' has {free / 1e6:.0f} MB free, and training writes about {needed / 1e6:.0f} MB to "
            f"{experiment.folder}: make room, lower 'logger.keep_states' or raise 'logger.save_checkpoint_freq'.",
            free,
            needed,
        )
    return []
