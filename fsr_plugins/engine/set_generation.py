"""A stage that makes a set of images instead of training: in parts, so that it can be taken up where it stopped."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from fsr_plugins.atomic import write_atomically, write_text
from fsr_plugins.config import Stage
from fsr_plugins.config.inputs import StageInputs, read_inputs
from fsr_plugins.config.settings import StageSettings, read_settings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import OrderedLoader
from fsr_plugins.engine import distributed
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.engine.plain import json_text, plain
from fsr_plugins.engine.stop import StopSignal
from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.models.set_generation import SetGeneration
from fsr_plugins.registry import lookup
from fsr_plugins.stores.lmdb_writer import LmdbWriter
from fsr_plugins.stores.manifest import read_manifest
from fsr_plugins.stores.records import Face
from fsr_plugins.values import Options, Record

logger = logging.getLogger(__name__)

#: Images of a part, by which the work is shared among processes: what an interruption can cost.
PART = 64
#: Lines in the log.
_LINES = 10

Part = list[npt.NDArray[np.uint8]]

#: Where the parts of a set lie until it has its record, and beside them what they come from.
PARTS, INPUTS = 'parts', 'inputs.json'


def make_source(options: StageSettings) -> ImageDataset:
    """The set that is gone over: ``datasets.train``, unturned and uncut.

    Raises:
        UserError: the options ask for crops or flips, or it is no set of the toolkit's.
    """
    dataset = make_dataset(options.sets['train'], 'val', options)
    if not isinstance(dataset, ImageDataset):
        raise UserError(f"'{options.sets['train'].type}' cannot be gone over in order: take a FaceDataset.")
    return dataset


def read_begun(folder: Path) -> StageInputs | None:
    """What the parts of a set that was begun come from; None if none was begun.

    Raises:
        UserError: that cannot be known any more.
    """
    parts = folder / PARTS
    if not any(parts.glob('*.npz')):
        return None
    file = parts / INPUTS
    try:
        return read_inputs(json.loads(file.read_bytes()), f"'{file}'")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{file}' cannot be read, so the origin of the parts beside it is unknown. Remove {parts}; "
                        'they are then made anew.') from error  # fmt: skip


def remove_parts(stage: Stage) -> None:
    """Removes the parts of a set; until its record is written they alone say what the images come from."""
    if stage.generates_set:
        shutil.rmtree(stage.folder / PARTS, ignore_errors=True)


class SetGenerator:
    """Makes what is not made yet, a part after the other, and puts the parts together.

    Args:
        opt: the stage with run-time keys, for testing.
        folder: the stage's folder; parts lie in ``parts/`` until :func:`remove_parts`.
        inputs: what the set comes from; kept beside the parts.
    """

    def __init__(self, opt: Options, folder: Path, world: World, inputs: StageInputs) -> None:
        self.opt, self.folder, self.world, self.inputs = opt, folder, world, inputs
        self.options = read_settings(opt)
        self.parts = folder / PARTS
        self.dataset = make_source(self.options)
        self.stop = StopSignal()

    def run(self) -> Record:
        """Makes the set; returns the stage's record but for its options.

        Raises:
            Interrupted: asked to stop; the parts made so far stay.
        """
        started = time.perf_counter()
        model = lookup('models', self.options.model_type)(self.opt)
        target = self.folder / model.output
        # One answer for all: the first process may have put the set together before another looks.
        if not distributed.on_main(target.exists):
            self.parts.mkdir(parents=True, exist_ok=True)
            distributed.on_main(lambda: write_text(self.parts / INPUTS, json_text(plain(self.inputs))))
            with self.stop.watching():
                self._make(model)
        distributed.on_main(lambda: self._assemble(target))
        distributed.barrier()
        manifest = read_manifest(target)
        return {
            'iterations': manifest.count,
            'seconds': round(time.perf_counter() - started, 1),
            'checkpoint': str(target),
            'sha256': manifest.checksum,
        }

    def _file(self, part: int) -> Path:
        return self.parts / f'{part:06d}.npz'

    def _numbers(self, part: int) -> range:
        return range(part * PART, min((part + 1) * PART, len(self.dataset)))

    def _make(self, model: SetGeneration) -> None:
        """Every rank makes its share of the missing parts; after each, all agree whether to go on."""
        total = -(-len(self.dataset) // PART)
        missing = distributed.on_main(lambda: [part for part in range(total) if not self._file(part).exists()])
        if len(missing) < total:
            logger.info('%s: %d of %d parts are there.', self.options.name, total - len(missing), total)
        mine = missing[self.world.rank :: self.world.size]
        made = self._images(model, mine)
        rounds = -(-len(missing) // self.world.size)
        report = -(-rounds // _LINES)
        for step in range(rounds):
            if step < len(mine):
                arrays = dict(zip(map(str, self._numbers(mine[step])), next(made), strict=True))
                write_atomically(self._file(mine[step]), lambda file, arrays=arrays: np.savez(file, **arrays))  # type: ignore[misc]
            if step % report == 0 or step == rounds - 1:
                done = (total - len(missing) + (step + 1) * self.world.size) * PART
                logger.info('%s: %d of %d images', self.options.name, min(done, len(self.dataset)), len(self.dataset))
            if distributed.any_rank(bool(self.stop.number)):
                raise Interrupted(
                    f'{self.options.name}: stopped; the parts made so far are in {self.parts}. Give the same command '
                    'again to go on.',
                    self.stop.number or signal.SIGTERM,
                )

    def _images(self, model: SetGeneration, parts: list[int]) -> Iterator[Part]:
        """The images of each part, by its numbers."""
        data = self.options.sets['train']
        loader = OrderedLoader(
            self.dataset,
            data.batch_size,
            [self._numbers(part) for part in parts],
            threads=data.threads,
            pin_memory=model.device.type == 'cuda',
        )
        images: Part = []
        waiting = iter(parts)
        part = next(waiting, None)
        with loader:
            for batch in loader:
                model.feed_data(batch)
                images.extend(model.generate_bytes().numpy())
                if part is not None and len(images) == len(self._numbers(part)):
                    yield images
                    images, part = [], next(waiting, None)

    def _assemble(self, target: Path) -> None:
        """All parts into one LMDB, with what is known of the faces they were made from."""
        if not target.exists():
            with LmdbWriter(target) as writer:
                for face in self._faces():
                    writer.add(face)

    def _faces(self) -> Iterator[Face]:
        store = self.dataset.store
        for part in range(-(-len(self.dataset) // PART)):
            images = self._read(part)
            for number, image in zip(self._numbers(part), images, strict=True):
                place = int(self.dataset.chosen[number])
                # Not by Store.get, which would decode the image that is replaced.
                yield Face(
                    self.dataset.key(number),
                    image,
                    None if store.identities is None else int(store.identities[place]),
                    None if store.landmarks is None else store.landmarks[place],
                )

    def _read(self, part: int) -> Part:
        """The images of a part, as they were made.

        Raises:
            UserError: its file is damaged.
        """
        try:
            with np.load(self._file(part), allow_pickle=False) as arrays:
                return [arrays[str(number)] for number in self._numbers(part)]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise UserError(
                f"'{self._file(part)}' is damaged ({error or type(error).__name__}): remove it, and it is made again."
            ) from error
