"""A few batches of a stage's validation before anything is trained, in memory only."""

from __future__ import annotations

import copy

from torch import Tensor

from fsr_plugins.archs.windows import enlarge
from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import unfinished_stage
from fsr_plugins.config.problems import explained, explained_wholly
from fsr_plugins.config.settings import option_name, read_settings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_val_loaders
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import size_of
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import build_metrics, on_trial
from fsr_plugins.models.networks import evaluating
from fsr_plugins.preflight.memory import bytes_of, check_fits, freed
from fsr_plugins.values import Options

#: Sizes of images that are tried of a set, and images of each on a CPU; a GPU takes whole batches.
_SIZES, _IMAGES = 3, 2


def without_metrics_to_come(experiment: Experiment, stage: Stage, opt: Options) -> list[str]:
    """Takes the metrics out of ``opt`` that need a file of a stage that is not done; returns their names."""
    to_come = [name for name, block in stage.options.metrics.items() if unfinished_stage(experiment, stage, block)]
    for name in to_come:
        del opt['val']['metrics'][name]
    return to_come


def check_scale(stage: Stage, model: FSRModel, *, must_run: bool) -> None:
    """Compares the size of what the result makes of a training batch with ``scale``.

    Args:
        stage: where the options stand.
        model: with a batch fed.
        must_run: whether it is an error if the result fails; else what comes after will tell better.
    Raises:
        UserError: its images are of another size; or the result fails.
    """
    net = model.evaluation.networks(model).get('result') if model.evaluation.shows_images else None
    if net is None or model.lq is None:
        return
    scale, label = stage.options.scale, stage.result_label
    key = option_name(label) if label in stage.networks else 'scale'
    place = f"{stage.where((key,))}: key '{key}'"
    what = f"{place}: the result of stage '{stage.name}' cannot be made"
    try:
        with explained(what), evaluating(net), model.precision.autocast():
            sr = enlarge(net, model.lq)
    except UserError:
        if must_run:
            raise
        return
    if not isinstance(sr, Tensor):
        return
    (height, width), made = model.lq.shape[-2:], sr.shape[-2:]
    if made == (scale * height, scale * width):
        return
    times = made[0] // height
    larger = f'{times} times larger images' if made == (times * height, times * width) else 'images'
    raise UserError(
        f"{place}: {label} makes {larger} ({size_of(sr)} of {size_of(model.lq)}), and 'scale' is {scale}: set the "
        'scale of the network, of the stage and of the degradation alike.'
    )


def try_validation(stage: Stage, model: FSRModel, opt: Options) -> None:
    """Measures a batch of a few sizes of every validation set, as validation will; without one, runs the result once.

    Args:
        stage: where the options stand.
        model: in training, with a batch fed.
        opt: the stage with run-time keys, less what is not there yet.
    Raises:
        UserError: a network, a metric or a set fails, or the images are of another size than ``scale`` says.
    """
    options = read_settings(opt)
    if not options.val_freq or not options.validation_sets:
        check_scale(stage, model, must_run=True)
        return
    phases = {data.name: data.phase for data in options.validation_sets}
    for name, loader in make_val_loaders(options, World(), pin_memory=False).items():
        keys = ('datasets', phases[name])
        place = f"{stage.where(keys)}: key '{'.'.join(keys)}'"
        on_cpu = model.device.type == 'cpu'
        if on_cpu:
            _check_memory(model, loader, f"{stage.where((*keys, 'batch_size_per_gpu'))}: key '{'.'.join(keys)}")
        with explained_wholly(f"{place}: validation on the set '{name}' fails"):
            loader.keep_one_of_each_size(_SIZES, _IMAGES if on_cpu else loader.batch_size)
            with loader, freed(loader.batch_size, '.'.join(keys)), on_trial():
                model.evaluation.validate(model, loader)
            if isinstance(loader.dataset, ImageDataset):
                for metric in build_metrics(options.metrics).values():
                    if loader.dataset.has_gt or not metric.needs_gt:
                        metric.check_set(loader.dataset.keys, loader.dataset.identities)


def _check_memory(model: FSRModel, loader: EvalLoader, key: str) -> None:
    """Whether the memory is large enough for the largest batch of a set."""
    largest = loader.largest_batch()

    def validate(number: int) -> None:
        few = copy.copy(loader)
        few.keep(largest[:number])
        model.fixed_results.clear()  # all is measured each time
        with few, on_trial():
            model.evaluation.validate(model, few)

    with copy.copy(loader) as one:
        one.keep(largest[:1])
        image = bytes_of(next(iter(one)))
    check_fits(validate, len(largest), image, key)
