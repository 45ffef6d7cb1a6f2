"""One-shot adaptation measured over splits and exemplars: what ``fsr oneshot`` does.

Each of the stages named in the option file's block ``oneshot`` is repeated for every exemplar: trained with it alone,
validated on the rest of its split. A repeat is a stage with a folder of its own, ``experiments/<name>/oneshot/<split>/
<stage>_<n>``; one that is done is skipped. What it takes from other stages is the experiment's own.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from fsr_plugins import config, preflight
from fsr_plugins.adaptation import report as oneshot_report
from fsr_plugins.adaptation.plan import Plan, Repeat, plan
from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import META, load_state, read_weights, write_weights
from fsr_plugins.config import Experiment, Stage, finished
from fsr_plugins.config.inputs import gather_inputs
from fsr_plugins.engine import distributed, logs, report
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.engine.plain import figures, json_text, plain
from fsr_plugins.engine.trainer import StageOutcome, Trainer
from fsr_plugins.errors import UserError
from fsr_plugins.models.evaluation import build_metrics
from fsr_plugins.preflight import standing
from fsr_plugins.values import Record
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)

#: The folder of a repeat with the first face of its split, an image a network.
FACES = 'faces'
#: What the files with a repeat's own weights end in.
DIFFERENCE = '_difference.pth'


def run(experiment: Experiment) -> Record:
    """Checks everything, adapts what is not adapted yet, and sums up in ``oneshot.json``, ``.md`` and ``.png``.

    Returns:
        the content of ``oneshot.json``, see :func:`fsr_plugins.adaptation.report.summary`.
    Raises:
        UserError: the options or the data do not fit. A stage that is needed is not trained yet, or its results are
            damaged. Another process works on the experiment.
        RunError: training could not go on.
    """
    logs.set_up(True)
    todo = plan(experiment)
    distributed.start('none', todo.repeats[0].stage.options.num_gpu)
    with only_writer(experiment.folder):
        return _run(experiment, todo)


def _run(experiment: Experiment, todo: Plan) -> Record:
    renews = _prepare(experiment, todo)
    records = []
    for number, (repeat, renew) in enumerate(zip(todo.repeats, renews, strict=True), 1):
        record = finished.record(repeat.stage)
        if record is None:
            logger.info(
                "%d of %d: stage '%s', split '%s', exemplar '%s'",
                number, len(todo.repeats), repeat.base, repeat.split, repeat.exemplar,
            )  # fmt: skip
            record = _adapt(repeat, todo, renew)
        # What only training needs, and whole networks: a hundred repeats of them would fill a disk.
        for name in ('training_states', 'models'):
            shutil.rmtree(repeat.stage.folder / name, ignore_errors=True)
        records.append({**record, 'validation': figures(record['validation'])})
    blocks = experiment.stages[todo.options.stages[0]].options.metrics
    metrics = {
        name: {'type': blocks[name]['type'], 'convention': metric.convention, 'better': metric.better}
        for name, metric in build_metrics(blocks).items()
    }
    summary: Record = plain(oneshot_report.summary(experiment.name, todo, records, metrics))
    folder = experiment.folder
    write_text(folder / 'oneshot.json', json_text(summary, indent=2))
    write_text(folder / 'oneshot.md', oneshot_report.markdown(summary))
    faces = {(repeat.base, repeat.split): repeat.stage.folder / FACES for repeat in todo.repeats if repeat.number == 0}
    report.write_comparison(folder / 'oneshot.png', oneshot_report.picture(faces))
    logger.info('Table: %s, picture: %s', folder / 'oneshot.md', folder / 'oneshot.png')
    return summary


def _prepare(experiment: Experiment, todo: Plan) -> list[bool]:
    """Looks at the options of every repeat; at all else of the first of each stage, for the others are like it.

    Returns:
        of each repeat, whether the rates to come are no longer those of its state.
    """
    sources = _sources(experiment, todo)
    for name, stage in sources.items():
        if not finished.is_finished(stage):
            raise UserError(
                f"Stage '{name}' {finished.shortfall(stage)} ({stage.folder}): run `fsr train -opt {experiment.file}` "
                'first, or give the --set that it was trained with.'
            )
    finished.verify_all([*sources.values(), *(repeat.stage for repeat in todo.repeats)])
    stands = [standing(repeat.stage, processes=1) for repeat in todo.repeats]
    for repeat, stood in zip(todo.repeats, stands, strict=True):
        if stood.measure:
            raise UserError(
                f"Repeat '{repeat.stage.name}' is finished, and its validation has changed since: put that back, "
                f"choose another 'name', or remove {repeat.stage.folder}."
            )
    coming = [repeat for repeat in todo.repeats if not finished.is_finished(repeat.stage)]
    first = {repeat.base: repeat.stage for repeat in reversed(coming)}
    stages = {**sources, **{stage.name: stage for stage in first.values()}}
    preflight.check(replace(experiment, stages=stages), dry_steps=True, skip=set(sources))
    return [stood.renew for stood in stands]


def _sources(experiment: Experiment, todo: Plan) -> dict[str, Stage]:
    """The stages that the repeats build on, near and far."""
    found: dict[str, Stage] = {}
    waiting = [name for base in todo.options.stages for name in experiment.stages[base].needs]
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = experiment.stages[name]
            waiting += experiment.stages[name].needs
    return found


def _adapt(repeat: Repeat, todo: Plan, renew: bool) -> Record:
    """Trains a repeat and writes its record last, so that it is done only with all that it leaves."""
    stage = repeat.stage
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_text(stage.folder / preflight.OPTIONS, config.dump(stage.opt))
    inputs = gather_inputs(stage.opt, 1)
    trainer = Trainer(config.runtime(stage), stage.folder, World(), inputs, renew=renew)
    outcome = trainer.run()
    if repeat.number == 0:
        for name, (image,) in report.rows(trainer.model, trainer.val_loaders[todo.target], [0]).items():
            report.write_comparison(stage.folder / FACES / f'{name}.png', report.pixels(image))
    if todo.options.keep_networks:
        _keep_differences(stage, outcome)
    kept = [*stage.folder.glob(f'{FACES}/*.png'), *stage.folder.glob(f'*{DIFFERENCE}')]
    result = outcome.checkpoints[stage.result_label]
    record: Record = {
        'stage': repeat.base,
        'split': repeat.split,
        'exemplar': repeat.exemplar,
        'iterations': outcome.iterations,
        'seconds': round(outcome.seconds, 1),
        'sha256': file_sha256(result),
        'validation': outcome.validation[todo.target],
        'options': config.fingerprint(stage.opt),
        'inputs': inputs,
        'files': {path.relative_to(stage.folder).as_posix(): file_sha256(path) for path in sorted(kept)},
    }
    write_text(stage.folder / finished.DONE, json_text(plain(record), indent=2))
    return record


def _keep_differences(stage: Stage, outcome: StageOutcome) -> None:
    """Writes ``<net>_difference.pth`` for every trained network: the tensors that are not those it began with.

    Laid over the weights of ``meta.base`` (SHA-256) they give the network.
    """
    for label, file in outcome.checkpoints.items():
        content, network = load_state(file), stage.options.network(label)
        base = network.weights
        before = read_weights(base, network.params) if base else {}
        kept: Record = {
            key: {
                name: tensor
                for name, tensor in weights.items()
                if name not in before or not torch.equal(tensor, before[name])
            }
            for key, weights in content.items()
            if key != META
        }
        kept[META] = {**content[META], 'base': base and file_sha256(Path(base))}
        target = stage.folder / f'{label}{DIFFERENCE}'
        write_weights(target, kept)
