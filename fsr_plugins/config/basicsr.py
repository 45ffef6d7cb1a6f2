"""BasicSR's option files: the names of its models, sets and metrics stand for ours, and each key is obeyed or answered.

They are names of options only. What BasicSR registers under them stays what it is: packages derive classes from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from fsr_plugins.config.dataset_keys import keys_read
from fsr_plugins.config.hosted import names_hosted
from fsr_plugins.data.options import DatasetOptions
from fsr_plugins.registry import DATASET_REGISTRY, lookup
from fsr_plugins.values import Block, Options

MODELS: Mapping[str, str] = {
    'SRModel': 'SupervisedModel',
    'SwinIRModel': 'SupervisedModel',
    'SRGANModel': 'GANModel',
    'ESRGANModel': 'GANModel',
}
DATASETS: Mapping[str, str] = {
    'PairedImageDataset': 'PairedImages',
    'SingleImageDataset': 'SingleImages',
    'FFHQDataset': 'FaceDataset',
}
METRICS: Mapping[str, str] = {'calculate_psnr': 'PSNR', 'calculate_ssim': 'SSIM', 'calculate_niqe': 'NIQE'}

#: Keys of a set that BasicSR reads while training only.
_TRAINING = ('gt_size', 'use_hflip', 'use_rot')
#: What BasicSR's option file of StyleGAN2 brings faces to [-1, 1] with.
_HALF = [0.5, 0.5, 0.5]


def translate(opt: Options) -> list[tuple[str, str]]:
    """Puts our names in the place of BasicSR's in a stage's options, which may still be of any kind.

    Returns:
        the keys that are taken out because they have no effect here, each with the reason.
    """
    if names_hosted(opt) and opt['model_type'] not in MODELS:
        # It runs on BasicSR's own sets, and is measured by its functions.
        opt.setdefault('scale', 1)
        return [*_path(opt.get('path')), *_misplaced(opt), *_unread(opt.get('datasets'))]
    found = [*_model(opt), *_path(opt.get('path'))]
    datasets = opt.get('datasets')
    for phase, block in datasets.items() if isinstance(datasets, dict) else ():
        if isinstance(block, dict) and isinstance(block.get('type'), str) and block['type'] in DATASETS:
            found += [(f'datasets.{phase}.{key}', why) for key, why in _dataset(phase, block)]
    val = opt.get('val')
    metrics = val.get('metrics') if isinstance(val, dict) else None
    for name, block in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(block, dict) and isinstance(block.get('type'), str) and block['type'] in METRICS:
            found += [(f'val.metrics.{name}.{key}', why) for key, why in _metric(block)]
    return found


def _model(opt: Options) -> Iterator[tuple[str, str]]:
    name = opt.get('model_type')
    if not isinstance(name, str) or name not in MODELS:
        return
    opt['model_type'] = MODELS[name]
    if name == 'ESRGANModel' and isinstance(opt.get('train'), dict):
        opt['train'].setdefault('relativistic', True)
    # Where files of an earlier BasicSR, which 1.4.2 itself does not run, have what stands in `val` now.
    moved = {key: opt.pop(key) for key in ('save_img', 'suffix') if key in opt}
    if moved and isinstance(opt.get('val'), dict | None):
        opt['val'] = {**moved, **(opt.get('val') or {})}
    if 'crop_border' in opt and opt.pop('crop_border') is not None:
        yield 'crop_border', 'each metric has its own'


def _path(path: object) -> Iterator[tuple[str, str]]:
    if isinstance(path, dict) and path.pop('ignore_resume_networks', None):
        yield 'path.ignore_resume_networks', 'a training state holds the weights of every network'


def _misplaced(opt: Options) -> Iterator[tuple[str, str]]:
    """Two of BasicSR's files have the average's decay in a network, at which BasicSR itself fails."""
    for key, block in opt.items():
        if key.startswith('network_') and isinstance(block, dict) and block.pop('ema_decay', None) is not None:
            yield f'{key}.ema_decay', "no network takes it; it belongs into 'train'"


def _unread(datasets: object) -> Iterator[tuple[str, str]]:
    """Takes out what a set of BasicSR's does not read, though another does; its files have it here and there."""
    for phase, block in datasets.items() if isinstance(datasets, dict) else ():
        # Two of BasicSR's are registered under a suffix, so that a package may use their plain names.
        name = block.get('type') if isinstance(block, dict) else None
        names = [each for each in (name, f'{name}_basicsr') if each in _theirs()]
        if not isinstance(block, dict) or not names:
            continue
        cls = DATASET_REGISTRY.get(names[0])
        for key in list(block):
            if key not in keys_read(cls) | DatasetOptions.model_fields.keys() and key in _read_by(_theirs()):
                del block[key]
                yield f'datasets.{phase}.{key}', f'{cls.__name__} does not read it'


def _theirs() -> frozenset[str]:
    """The names of sets that are none of this toolkit's."""
    return frozenset(name for name, cls in DATASET_REGISTRY if isinstance(cls, type) and not hasattr(cls, 'Options'))


@cache
def _read_by(names: frozenset[str]) -> frozenset[str]:
    return frozenset(key for name in names for key in keys_read(DATASET_REGISTRY.get(name)))


def _dataset(phase: str, block: Block) -> Iterator[tuple[str, str]]:
    name = block['type']
    block['type'] = DATASETS[name]
    if name == 'FFHQDataset' and block.get('mean') == _HALF and block.get('std') == _HALF:
        del block['mean'], block['std']
        yield 'mean', 'images are in [0, 1]; a model brings them to what its networks take'
        yield 'std', "as with 'mean'"
    if phase != 'train':
        for key in _TRAINING:
            if block.pop(key, None):
                yield key, 'it is for training; what is validated on is taken whole'
        # Images of any size, one after the other, as there: many sets hold large ones.
        block.setdefault('batch_size_per_gpu', 1)


def _metric(block: Block) -> Iterator[tuple[str, str]]:
    block['type'] = METRICS[block['type']]
    if block.pop('input_order', 'HWC') != 'HWC':
        yield 'input_order', 'images are compared as tensors'
    better = lookup('metrics', block['type']).better
    if block.pop('better', better) != better:
        yield 'better', f'of {block["type"]} {better} is better'
