"""The dry step of a model that is not this toolkit's: one iteration, and its own validation on one sample of a set."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fsr_plugins.config import Stage
from fsr_plugins.config.problems import explained
from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.seeded import OneByOne, SeededLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_train_loader, make_val_loaders
from fsr_plugins.models.hosted import HostedModel
from fsr_plugins.preflight.memory import freed
from fsr_plugins.values import Options


def hosted_step(stage: Stage, opt: Options) -> None:
    """Tries a stage in memory; the pictures that a validation writes whether it is asked to or not are thrown away.

    Args:
        opt: the stage with run-time keys.

    Raises:
        UserError: the model, its first iteration, a set or a validation fails, or it saves no result.
    """
    with TemporaryDirectory(prefix='fsr_') as folder:
        opt['path'] = {**opt['path'], 'visualization': folder, 'models': folder}
        place = stage.where(('model_type',))
        with explained(f"{place}: the first iteration of stage '{stage.name}' fails"), freed(stage.data.batch_size):
            model: HostedModel = stage.model(opt)
            with make_train_loader(stage.options, World(), 0, False) as loader:
                if isinstance(loader, SeededLoader):
                    loader.in_this_process()
                model.feed_data(next(iter(loader)))
            model.update_learning_rate(1, stage.train.warmup_iter)
            model.optimize_parameters(1)
            model.get_current_log()
            model.named_networks(1)
        options = read_settings(opt)
        phases = {data.name: data.phase for data in options.validation_sets}
        for name, whole in make_val_loaders(options, World(), False).items() if options.val_freq else ():
            keys = ('datasets', phases[name])
            what = f"{stage.where(keys)}: key '{'.'.join(keys)}': validation on the set '{name}' fails"
            saves = options.val is not None and options.val.save_img
            with explained(what), freed(1, '.'.join(keys)):
                model.validate(OneByOne(whole.dataset, first=1), Path(folder) if saves else None)
