"""A trained network adapted to a new domain by exemplars, from its checkpoint alone: what ``fsr adapt`` does.

An arch names the registered model that adapts its networks in the class attribute ``adapter``; that model's class keeps
to :class:`Adapter`. What is run is an experiment of one stage in a temporary folder, checked and trained as any other.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from fsr_plugins import config, preflight
from fsr_plugins.atomic import write_atomically
from fsr_plugins.checkpoints import META, PARAMS_EMA, described, load, resolved, write_weights
from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config import overrides as command_line
from fsr_plugins.config.dependencies import named_stages, unfinished_stage
from fsr_plugins.config.finished import shortfall, verify_all
from fsr_plugins.config.inputs import gather_inputs
from fsr_plugins.config.yamlfile import Document, Keys
from fsr_plugins.engine import distributed, logs
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.trainer import StageOutcome, Trainer
from fsr_plugins.errors import Interrupted, NoRoomError, RunError, UserError
from fsr_plugins.models.networks import option_name
from fsr_plugins.registry import ARCH_REGISTRY, load_plugins, lookup, near
from fsr_plugins.stores.images import encode_png, read_image
from fsr_plugins.stores.partial import partial_folder
from fsr_plugins.values import Options, Record
from fsr_plugins.weights import file_sha256

#: What options start from; only the end is saved.
_DEFAULTS = {
    'name': 'adapt',
    'logger': {'print_freq': 25, 'save_checkpoint_freq': 10**9, 'keep_states': 1, 'use_tb_logger': False},
}


class Adapter(Protocol):
    """What a model class, an FSRModel, must have besides to be named as an arch's ``adapter``."""

    @classmethod
    def adaptation_options(cls, meta: Record) -> Record:
        """A stage's options for a network: what follows from its checkpoint, and what serves without an option file.

        Needed are ``train``, ``network_<x>`` of the network that is adapted (the model's ``result``) and, where that
        wants one size, ``datasets.train.gt_size``: exemplars must then be square and exactly so large. Filled in are
        name, scale, degradation (the checkpoint's), ``model_type``, weights, images and seed; ``datasets.train`` is a
        FaceDataset with all exemplars in a batch unless it says otherwise. There is no ``val``.

        Args:
            meta: what the checkpoint says of itself, ``arch`` and ``scale`` and ``degradation`` among it.
        Raises:
            UserError: networks with these arguments cannot be adapted.
        """
        ...

    @classmethod
    def result_label(cls, opt: Options) -> str:
        """See ``FSRModel``."""
        ...


@dataclass(frozen=True)
class Request:
    """What is to be adapted, by what, and where the result goes.

    Attributes:
        checkpoint: a network file of this toolkit.
        exemplars: images of the new domain, in HR.
        out: the file to write, ``*.pth``; a picture of the same name, ``*.png``, may come beside it.
        option_file: ``train`` is taken from one of its stages instead of the model's own.
        stage: which.
        overrides: ``a.b=c`` each, as given to ``--set``.
        seed: None for that of the options, 0 unless they say otherwise.
        overwrite: whether ``out`` and the picture may exist.
    """

    checkpoint: Path
    exemplars: Sequence[Path]
    out: Path
    option_file: Path | None = None
    stage: str = 'adapt'
    overrides: Sequence[str] = ()
    seed: int | None = None
    overwrite: bool = False


def adapt(request: Request) -> Record:
    """Adapts and writes the network; everything is checked before, and what goes wrong leaves nothing behind.

    The file says of itself what the source said, and in ``adapted`` by what it was adapted, the latest last. The same
    request gives the same bytes on a CPU with the same versions.

    Returns:
        ``{"checkpoint", "sha256", "preview" (a path or None), "iterations", "seconds", "adapted"}``.
    Raises:
        UserError: something of the request does not fit.
        RunError: training could not go on, or there is no room for what it writes beside ``out``.
    """
    request = replace(request, checkpoint=resolved(request.checkpoint)[0])
    _check_place(request)
    load_plugins()
    source = described(request.checkpoint)
    name = source[META]['arch'].get('type', '')
    model_type: str | None = getattr(lookup('archs', name), 'adapter', None)
    if model_type is None:
        able = ', '.join(sorted(other for other, cls in ARCH_REGISTRY if getattr(cls, 'adapter', None))) or 'none'
        raise UserError(f'{request.checkpoint} is of {name}, which cannot be adapted; that can be: {able}.')
    load(request.checkpoint)  # ends with its message where the file's arguments are not those of its weights
    with _no_room_told(request.out), partial_folder(request.out) as work:
        document = _document(request, source, model_type, work / 'exemplars')
        experiment = config.compose(document, request.checkpoint, root=work)
        (stage,) = experiment.stages.values()
        exemplars = _take(request.exemplars, work / 'exemplars', stage.data.gt_size)
        outcome = _train(experiment, stage)
        adapted = {
            'model': model_type,
            'source': file_sha256(request.checkpoint),
            'exemplars': exemplars,
            'seed': stage.options.manual_seed,
            'iterations': outcome.iterations,
        }
        preview = _write(request.out, stage, outcome, source[META], adapted)
    return {
        'checkpoint': str(request.out),
        'sha256': file_sha256(request.out),
        'preview': preview and str(preview),
        'iterations': outcome.iterations,
        'seconds': round(outcome.seconds, 1),
        'adapted': adapted,
    }


@contextmanager
def _no_room_told(out: Path) -> Iterator[None]:
    """Names ``out`` where something cannot be written; the folder beside it is nobody's concern."""
    try:
        yield
    except NoRoomError as error:
        reason = f'{error.free / 1e6:.0f} MB are free, and about {error.needed / 1e6:.0f} MB are written for a while'
        raise RunError(f'-o {out}: {reason} beside it. Make room, or name a file on another disk.') from error
    except (RunError, OSError) as error:
        failure = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(failure, OSError | RuntimeError) or getattr(failure, 'errno', None) == errno.ENAMETOOLONG:
            raise
        reason = getattr(failure, 'strerror', None) or str(failure).split('\n')[0]
        raise RunError(
            f'-o {out}: adapting cannot write there ({reason}). Make room, or name a file on another disk.'
        ) from error


def _check_place(request: Request) -> None:
    out, picture = request.out, request.out.with_suffix('.png')
    if out.suffix != '.pth':
        raise UserError(f"-o {out}: name a file that ends in '.pth'.")
    if not out.parent.is_dir():
        raise UserError(f"-o {out}: there is no folder '{out.parent}': make it first.")
    # Not Path.resolve: that fails at links in a circle.
    taken = {os.path.realpath(path) for path in (request.checkpoint, *request.exemplars)}
    for path in (out, picture):
        if os.path.realpath(path) in taken:
            raise UserError(f"-o {out}: '{path}' would be written, and is what is adapted from: choose another name.")
        if path.is_dir() or (path.exists() and not request.overwrite):
            raise UserError(f"-o {out}: '{path}' exists already: choose another name, or give --overwrite.")


def _document(request: Request, source: Record, model_type: str, images: Path) -> Document:
    """The options of the only stage as an option file would give them, overrides applied."""
    cls: Adapter = lookup('models', model_type)
    meta = source[META]
    options = {**_DEFAULTS, 'scale': meta.get('scale'), 'degradation': meta.get('degradation')}
    options |= {**cls.adaptation_options(meta), 'model_type': model_type}
    network = option_name(cls.result_label(options))
    train = {'type': 'FaceDataset', 'batch_size_per_gpu': len(request.exemplars)}
    train |= options.get('datasets', {}).get('train', {})
    options['datasets'] = {'train': {**train, 'name': 'exemplars', 'dataroot_gt': str(images)}}
    document = Document(options, {(key,): f'the settings of {model_type}' for key in options})
    if request.option_file is not None:
        document = _with_settings_of(request, model_type, document)
    weights = {f'pretrain_{network}': str(request.checkpoint.resolve())}
    if PARAMS_EMA in source:
        weights['param_key_' + network.removeprefix('network_')] = PARAMS_EMA
    given = Document({**document.values, 'path': weights}, document.places)
    fixed: list[Keys] = [('model_type',), (network,), ('path',), ('datasets', 'train', 'dataroot_gt'), ('stages',)]
    changed = command_line.apply(given, request.overrides)
    for keys in fixed:
        if _at(changed.values, keys) != _at(given.values, keys):
            key = '.'.join(keys)
            raise UserError(f"--set may not change '{key}': the checkpoint and the exemplars say what it is.")
    if request.seed is not None:
        changed.values['manual_seed'] = request.seed
        changed.places['manual_seed',] = f'--seed {request.seed}'
    return changed


def _at(values: object, keys: Keys) -> object:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _with_settings_of(request: Request, model_type: str, document: Document) -> Document:
    """The document with ``train`` of a stage of the option file, references resolved."""
    assert request.option_file is not None
    experiment = config.load(request.option_file)
    stage = experiment.stages.get(request.stage)
    if stage is None:
        there = ', '.join(experiment.stages)
        hint = near(request.stage, experiment.stages)
        raise UserError(f"{request.option_file} has no stage '{request.stage}' (there are: {there}).{hint}")
    if stage.options.model_type != model_type:
        raise UserError(
            f"{stage.where(('model_type',))}: stage '{stage.name}' is of {stage.options.model_type}, but "
            f'{request.checkpoint} is adapted by {model_type}: name another by --stage.'
        )
    settings = {'train': stage.opt['train']}
    waiting = unfinished_stage(experiment, stage, settings)
    if waiting:
        lacks = shortfall(experiment.stages[waiting])
        raise UserError(
            f"Stage '{request.stage}' of {request.option_file} needs stage '{waiting}', which {lacks}: run "
            f'`fsr train -opt {request.option_file}` first.'
        )
    verify_all(named_stages(experiment, stage, settings))
    places = {keys: place for keys, place in stage.places.items() if keys[:1] == ('train',)}
    return Document({**document.values, **settings}, {**document.places, **places})


def _take(files: Sequence[Path], folder: Path, size: int | None) -> list[dict[str, str]]:
    """Copies the exemplars into a folder of their own; their names and SHA-256, in the order given."""
    folder.mkdir(parents=True)
    shape = None if size is None else (size, size)
    for number, file in enumerate(files):
        if file.is_dir():
            raise UserError(f"The exemplar '{file}' is a folder: name the images in it, e.g. {file}/*.png.")
        if not file.is_file():
            raise UserError(f"There is no exemplar '{file}'.")
        image = read_image(file)
        height, width = image.shape[:2]
        shape = shape or (height, width)
        if (height, width) != shape:
            wanted = f'{shape[1]}x{shape[0]}, the size ' + (
                'of the first' if size is None else 'that the network makes'
            )
            raise UserError(
                f"The exemplar '{file}' is {width}x{height} (width x height), but must be {wanted}: "
                'cut and scale it as the faces that the network was trained with.'
            )
        (folder / f'{number:04d}.png').write_bytes(encode_png(image))
    return [{'name': file.name, 'sha256': file_sha256(file)} for file in files]


def _train(experiment: Experiment, stage: Stage) -> StageOutcome:
    distributed.start('none', stage.options.num_gpu)
    logs.set_up(True)
    preflight.check(experiment, dry_steps=True)
    try:
        return Trainer(config.runtime(stage), stage.folder, World(), gather_inputs(stage.opt, 1)).run()
    except Interrupted as error:
        raise Interrupted(
            'Adapting was stopped; nothing is kept. Give the same command again.', error.status - 128
        ) from None


def _write(out: Path, stage: Stage, outcome: StageOutcome, source: Record, adapted: Record) -> Path | None:
    """Writes the network with what it says of itself, and the picture; returns the picture's path if there is one."""
    content = described(outcome.checkpoints[stage.result_label])
    meta = {**source, 'versions': content[META]['versions'], 'adapted': [*source.get('adapted', []), adapted]}
    meta['degradation'] = stage.options.degradation  # what its LR is now, which --set may change
    # Through text: equal values are then equal objects, or not, in every run, on which the bytes of a pickle depend.
    content[META] = json.loads(json.dumps(meta))
    write_weights(out, content)
    picture = stage.folder / 'preview.png'
    if not picture.exists():
        return None
    preview = out.with_suffix('.png')
    write_atomically(preview, lambda file: file.write(picture.read_bytes()))
    return preview
