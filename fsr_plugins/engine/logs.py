"""What a run tells: log file, live line on a terminal or plain lines elsewhere, figures as JSON lines, TensorBoard."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fsr_plugins.atomic import write_text
from fsr_plugins.config.problems import explained
from fsr_plugins.config.schema import LoggerOptions
from fsr_plugins.engine.diverging import Course
from fsr_plugins.engine.plain import json_text
from fsr_plugins.errors import DiskError, UserError
from fsr_plugins.models.saved_model import SavedModel
from fsr_plugins.values import Record

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    _TextHandler = logging.StreamHandler[TextIO]
else:
    # Takes no parameter in Python 3.10.
    _TextHandler = logging.StreamHandler

logger = logging.getLogger(__name__)
console = Console(stderr=False)
package_logger = logging.getLogger('fsr_plugins')


def announce(model: SavedModel, images: int, per_epoch: float, total: int) -> None:
    """Says what is about to be trained: images, iterations, the device and the networks."""
    networks = ', '.join(
        f'{label} {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M' for label, net in model.trainable().items()
    )
    logger.info(
        '%s: %d images, %.1f iterations an epoch, %d iterations, on %s in %s; %s',
        model.options.name, images, per_epoch, total, model.device, model.precision.name, networks,
    )  # fmt: skip


def set_up(is_main: bool) -> None:
    """Messages of this package go to the terminal (rank 0) as plain or coloured lines; the other ranks are quiet."""
    package_logger.handlers.clear()
    package_logger.propagate = False
    package_logger.setLevel(logging.INFO if is_main else logging.ERROR)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, log_time_format='%X', markup=False)
    else:
        handler = _Output(sys.stdout)
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s', '%H:%M:%S'))
    package_logger.addHandler(handler)


class _Output(_TextHandler):
    """Standard output, given up with one line on standard error when it cannot be written any more: the run goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Takes the output out of use; that a pipe's reader has gone is not worth a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        package_logger.removeHandler(self)
        if not isinstance(error, BrokenPipeError):
            with suppress(OSError):
                lost = f'Standard output cannot be written any more: {error.strerror}. The run goes on.'
                print(f'fsr: warning: {lost}', file=sys.stderr)


class _LogFile(logging.FileHandler):
    """A log file that is given up, with one line on the terminal, when it cannot be written any more."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Takes the file out of use."""
        package_logger.removeHandler(self)
        package_logger.warning('%s cannot be written any more: %s.', self.baseFilename, sys.exc_info()[1])


def unwritable(path: Path, error: OSError) -> DiskError:
    """What a full disk means for a run."""
    return DiskError(
        f'Cannot write {path}: {error.strerror}. Make room, then start again to go on from the last state.'
    )


def read_records(path: Path) -> list[Record]:
    """The lines of a ``metrics.jsonl``; those that are damaged are left out, with a warning."""
    if not path.exists():
        return []
    records, damaged = [], []
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            good = isinstance(record, dict) and isinstance(record.get('iter'), int)
        except (ValueError, RecursionError):
            good = False
        if good:
            records.append(record)
        else:
            damaged.append(str(number))
    if damaged:
        shown = ', '.join(damaged[:5]) + (' …' if len(damaged) > 5 else '')
        logger.warning('%s: %d of %d lines cannot be read and are left out: %s.', path, len(damaged), len(lines), shown)
    return records


class StageLog:
    """The records of one stage. Only rank 0 writes.

    Args:
        folder: the stage's folder; ``train.log``, ``metrics.jsonl`` and ``tb/`` go there.
        options: the block ``logger``.
        total: the stage's iterations.
        name: what the lines begin with.
    """

    def __init__(self, folder: Path, options: LoggerOptions, *, total: int, name: str) -> None:
        """
        Raises:
            DiskError: the log cannot be written.
        """
        self.folder, self.options, self.name, self.total = folder, options, name, total
        self._course = Course(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _LogFile(folder / 'train.log')
        except OSError as error:
            raise unwritable(folder / 'train.log', error) from error
        self._file.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
        package_logger.addHandler(self._file)
        self._records = folder / 'metrics.jsonl'
        self._tensorboard: SummaryWriter | None = None
        self._wandb: Any = None
        self._progress: Progress | None = None

    def begin(self, resumed_at: int, validation_due: bool = False) -> None:
        """Starts the live line, TensorBoard and the clock.

        Args:
            resumed_at: records after this iteration are from before an interruption and are dropped.
            validation_due: its validation is yet to be done, so what was recorded of it is dropped too.
        """
        records = [record for record in read_records(self._records) if record['iter'] <= resumed_at]
        if validation_due:
            records = [record for record in records if record['iter'] < resumed_at or 'validation' not in record]
        text = ''.join(map(json_text, records))
        if self._records.exists() and text.encode() != self._records.read_bytes():
            write_text(self._records, text)
        self._wandb = _wandb(self.folder, self.options, self.name)
        self._tensorboard = _tensorboard(self.folder, self.options, resumed_at)
        self._started, self._first = time.perf_counter(), resumed_at
        if console.is_terminal:
            self._progress = Progress(
                TextColumn('{task.description}'), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn('{task.fields[line]}'), console=console,
            )  # fmt: skip
            self._task = self._progress.add_task(self.name, total=self.total, completed=resumed_at, line='')
            self._progress.start()

    def record(self, iteration: int, values: Record) -> None:
        """Appends ``values`` to ``metrics.jsonl``: no times, so that equal runs give equal files.

        Raises:
            DiskError: they cannot be written.
        """
        try:
            with open(self._records, 'a') as file:
                file.write(json_text({'iter': iteration, **values}))
        except OSError as error:
            raise unwritable(self._records, error) from error

    def scalars(self, iteration: int, prefix: str, values: Mapping[str, float]) -> None:
        """Writes numbers to TensorBoard."""
        if self._tensorboard is not None:
            for name, value in values.items():
                self._tensorboard.add_scalar(f'{prefix}/{name}', value, iteration)

    def step(self, iteration: int) -> None:
        """Moves the live line."""
        if self._progress is not None:
            self._progress.update(self._task, completed=iteration)

    def losses(self, iteration: int, epoch: int, rates: list[float], losses: Mapping[str, float]) -> None:
        """Records the losses of an iteration and shows them with speed and time left."""
        self._course.see(iteration, losses)
        self.record(iteration, {'epoch': epoch, 'lrs': rates, 'losses': dict(losses)})
        self.scalars(iteration, 'losses', losses)
        self.scalars(iteration, 'lr', {str(number): rate for number, rate in enumerate(rates)})
        speed = (iteration - self._first) / max(time.perf_counter() - self._started, 1e-9)
        numbers = '  '.join(f'{name} {value:.4g}' for name, value in losses.items())
        if self._progress is not None:
            self._progress.update(self._task, line=f'{numbers}  {speed:.2f} it/s')
        minutes, seconds = divmod(int((self.total - iteration) / max(speed, 1e-9)), 60)
        left = f'{minutes // 60:02}:{minutes % 60:02}:{seconds:02}'
        # Of a network that is solved there are neither losses nor a rate.
        rate = f'lr {rates[0]:.2g}' if rates else ''
        parts = [f'{self.name} {iteration}/{self.total}', numbers, rate, f'{speed:.2f} it/s', f'ETA {left}']
        line = '  '.join(part for part in parts if part)
        package_logger.log(logging.DEBUG if self._progress is not None else logging.INFO, line)

    def close(self) -> None:
        """Ends the live line, the log file and TensorBoard."""
        if self._progress is not None:
            self._progress.stop()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:  # the next stage has a run of its own
            self._wandb.finish()
        package_logger.removeHandler(self._file)
        with suppress(OSError):  # what could not be written has been said
            self._file.close()


def _wandb(folder: Path, options: LoggerOptions, name: str) -> Any:
    """The run of Weights & Biases, to which goes what TensorBoard gets; None without a project."""
    if options.wandb is None or not options.wandb.project:
        return None
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger.wandb needs the package 'wandb': pip install fsr_plugins[wandb].") from error
    with explained("'logger.wandb': the run cannot be begun"):
        return wandb.init(project=options.wandb.project, id=options.wandb.resume_id, resume='allow', name=name,
                          dir=str(folder), sync_tensorboard=True)  # fmt: skip


def _tensorboard(folder: Path, options: LoggerOptions, resumed_at: int) -> SummaryWriter | None:
    if not options.use_tb_logger:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / 'tb'), purge_step=resumed_at + 1 if resumed_at else None)
