"""Seconds of a whole training by an option file of BasicSR's: ``recipe_edsr``, ``recipe_esrgan``, and by ``auto``."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from recipe_data import make_set

from fsr_plugins.config.yamlfile import read
from fsr_plugins.errors import UserError

from .faces import Faces
from .start_up import SCRIPTS
from .timing import Comparison, Effort, alternate

#: What ours is told beside that, by the ending of the row: to find out the layout, and the precision as well.
ENDINGS: Mapping[str, Mapping[str, object]] = {
    '': {'channels_last': 'auto'},
    '_auto': {'channels_last': 'auto', 'precision': 'auto'},
}


@dataclass(frozen=True)
class Recipe:
    """An option file, and what is changed so that a CPU trains by it within seconds."""

    file: str  #: below BasicSR's folder ``options``
    side: int  #: of a training image's LR
    batch: int
    changes: Mapping[str, object]

    def all_changes(self, iterations: int) -> dict[str, object]:
        """Both sides' changes by key; ``~`` is none."""
        loader = {'datasets.train.batch_size_per_gpu': self.batch, 'datasets.train.num_worker_per_gpu': 2}
        return {'num_gpu': 0, 'train.total_iter': iterations, **loader, **self.changes}


RECIPES: Mapping[str, Recipe] = {
    'edsr': Recipe('train/EDSR/train_EDSR_Mx2.yml', 60, 4, {}),
    # VGG's weights and those of an earlier training are a download.
    'esrgan': Recipe(
        'train/ESRGAN/train_ESRGAN_x4.yml',
        40,
        2,
        {'path.pretrain_network_g': '~', 'train.perceptual_opt': '~', 'network_g.num_block': 4},
    ),
}


def trainings(folder: Path, name: str, command: Callable[[str], Sequence[str]]) -> Callable[[], float]:
    """A function that trains by ``command(name of the experiment)``, each time a new one, and gives the seconds.

    Raises (from the function):
        RuntimeError: the command failed; its output is in the message.
    """
    numbers = itertools.count()
    paths = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get('PYTHONPATH')]))
    environment = {**os.environ, 'PYTHONPATH': paths, 'XDG_CACHE_HOME': str(folder / 'cache')}

    def train() -> float:
        arguments = command(f'{name}_{next(numbers)}')
        started = time.monotonic()
        done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
        if done.returncode:
            raise RuntimeError(f'{" ".join(arguments)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}')
        return seconds

    return train


def whole_training(name: str, options: Path | None, ending: str, faces: Faces, effort: Effort) -> Comparison | None:
    """Both sides' train scripts by the same file on the same data, a process a run; one run of each is not counted.

    Args:
        name: of :data:`RECIPES`.
        options: BasicSR's folder of that name; without it nothing is measured.
        ending: of :data:`ENDINGS`, what is changed on our side alone.

    Raises:
        UserError: the folder has no such file.
    """
    if options is None:
        return None
    recipe, ours_too = RECIPES[name], ENDINGS[ending]
    file = options.resolve() / recipe.file
    if not file.is_file():
        raise UserError(
            f"'{options}' has no {recipe.file}: give --recipes the folder options/ of BasicSR's repository."
        )
    iterations = effort.recipe_iterations
    folder = faces.gt.parent / f'recipe_{name}{ending}'
    folder.mkdir()
    values = read(file).values
    for phase, block in values['datasets'].items():
        make_set(block, phase, values, recipe.side, folder)
    changes = recipe.all_changes(iterations)
    fsr = Path(sys.executable).with_name('fsr')
    theirs = [sys.executable, '-m', 'benchmark.basicsr_train', str(folder), '-opt', str(file), '--force_yml']

    def our_command(run: str) -> list[str]:
        given = [f'{key}={value}' for key, value in {'name': run, **changes, **ours_too}.items()]
        return [str(fsr), 'train', '-opt', str(file), *(part for each in given for part in ('--set', each))]

    def their_command(run: str) -> list[str]:
        return [*theirs, *(f'{key.replace(".", ":")}={value}' for key, value in {'name': run, **changes}.items())]

    ours, basicsr = trainings(folder, 'ours', our_command), trainings(folder, 'basicsr', their_command)
    # The first run reads the libraries, verifies the images, and finds out what is told to be found out.
    ours(), basicsr()
    pair = alternate(ours, basicsr, effort.runs)
    alone = ', '.join(f'{key} {value}' for key, value in ours_too.items())
    how = f'{iterations} iterations by {recipe.file}, batch {recipe.batch}, whole processes; ours: {alone}'
    details = {'changes': changes, 'ours alone': dict(ours_too)}
    return Comparison(folder.name, 's', pair.ours, pair.basicsr, how, larger_is_better=False, details=details)


def benchmarks(options: Path | None) -> dict[str, Callable[[Faces, torch.device, Effort], Comparison | None]]:
    """The rows by name; see :func:`whole_training`."""

    def row(name: str, ending: str) -> Callable[[Faces, torch.device, Effort], Comparison | None]:
        return lambda faces, device, effort: whole_training(name, options, ending, faces, effort)

    return {f'recipe_{name}{ending}': row(name, ending) for name in RECIPES for ending in ENDINGS}
