"""Pictures in, larger ones out: what ``fsr infer`` does."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from fsr_plugins.atomic import write_atomically
from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.restore.network import FaceNetwork, Json
from fsr_plugins.restore.restorers import AlignedFaces, PhotographFaces, Photographs, Restorer
from fsr_plugins.stores.images import EXTENSIONS, encode_png, read_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestoreRequest:
    """What is to be enlarged, by what, and where it goes.

    Attributes:
        checkpoint: a network file of this toolkit.
        inputs: images, and folders of images.
        out: folder for the results, ``<name of the input>.png``.
        size: height and width of LR, where the checkpoint does not say it.
        fit: bring every picture to that size first; without, one of another size ends the command.
        photographs: look for faces; None: every picture is a face.
        device: ``auto``, ``cpu``, ``cuda``, …
        param_key: ``params`` or ``params_ema``; None: the averaged weights where there are some.
        existing: what becomes of results that are there already.
    """

    checkpoint: Path
    inputs: Sequence[Path]
    out: Path
    size: tuple[int, int] | None = None
    fit: bool = False
    photographs: Photographs | None = None
    device: str = 'auto'
    param_key: str | None = None
    overwrite: bool = False
    skip_existing: bool = False


def restore(request: RestoreRequest) -> Json:
    """Enlarges and writes; a picture that cannot be read or does not fit keeps none of the others from being done.

    Returns:
        ``{"pictures": {input: {"result", "faces" (of a photograph), "enlarged" (of it)}}, "skipped", "seconds"}``.
    Raises:
        UserError: something of the request does not fit and nothing was written, or pictures were left out: which, why.
        RunError: a result cannot be written.
    """
    wanted = _results(request)
    network = FaceNetwork.open(request.checkpoint, _device(request.device), request.param_key)
    if request.size is not None:
        network = network.of_size(request.size)
    restorer: Restorer
    restorer = (
        AlignedFaces(network, request.fit)
        if request.photographs is None
        else PhotographFaces(network, request.photographs)
    )
    todo = [source for source, result in wanted.items() if not (request.skip_existing and result.exists())]
    started = time.perf_counter()
    pictures: Json = {}
    wrong: list[str] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(todo), restorer.together):
            part = todo[start : start + restorer.together]
            read: dict[Path, Image] = {}
            for source, image in zip(part, pool.map(_image_or_why, part), strict=True):
                if isinstance(image, str):
                    wrong.append(f'- {image}')
                else:
                    read[source] = image
            made, unfit = restorer.make(read)
            wrong += unfit
            list(pool.map(_write, map(wanted.__getitem__, made), (image for image, _ in made.values())))
            for source, (_, about) in made.items():
                pictures[str(source)] = {'result': str(wanted[source]), **about}
            logger.info('%d of %d pictures', len(pictures) + len(wrong), len(todo))
    if wrong:
        raise UserError(f'{len(pictures)} pictures are done, {len(wrong)} are not:\n' + '\n'.join(wrong))
    return {
        'checkpoint': str(request.checkpoint),
        'pictures': pictures,
        'skipped': len(wanted) - len(todo),
        'seconds': round(time.perf_counter() - started, 2),
    }


def _device(name: str) -> torch.device:
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that knows no CUDA
        raise UserError(
            f"--device {name}: not here ({str(error).splitlines()[0]}); 'auto' takes what there is."
        ) from error
    return device


def _results(request: RestoreRequest) -> dict[Path, Path]:
    """The file of each input's result; an error before anything is written where two are the same or one exists."""
    sources: list[Path] = []
    for path in request.inputs:
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in EXTENSIONS and not file.name.startswith('.') and file.is_file()
            )
            if not inside:
                raise UserError(f"The folder '{path}' holds no images ({', '.join(sorted(EXTENSIONS))}).")
            sources += inside
        elif path.is_file():
            sources.append(path)
        else:
            raise UserError(f"There is no image or folder '{path}'.")
    results: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    inputs = {source.resolve() for source in sources}
    for source in sources:
        result = request.out / f'{source.stem}.png'
        if taken.setdefault(result, source) != source:
            raise UserError(f"'{taken[result]}' and '{source}' would both become '{result}': do one of them elsewhere.")
        if result.resolve() in inputs:
            raise UserError(f"-o {request.out}: '{result}' is one of the inputs: choose another folder.")
        results[source] = result
    there = [result for result in results.values() if result.exists()]
    if there and not (request.overwrite or request.skip_existing):
        raise UserError(
            f"'{there[0]}' exists already ({len(there)} of {len(results)} do): choose another folder, or give "
            '--overwrite or --skip-existing.'
        )
    if request.out.exists() and not request.out.is_dir():
        raise UserError(f'-o {request.out}: that is a file; a folder is needed.')
    return results


def _image_or_why(source: Path) -> Image | str:
    try:
        return read_image(source)
    except UserError as error:
        return str(error)


def _write(file: Path, image: Image) -> None:
    write_atomically(file, lambda handle: handle.write(encode_png(image)))
