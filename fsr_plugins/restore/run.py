"""Pictures in, larger ones out: what ``fsr infer`` does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from fsr_plugins.atomic import write_atomically
from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import Header, decode_image, look_at, read_bytes, shown
from fsr_plugins.restore.forward import Engine, Forward, InferencePrecision
from fsr_plugins.restore.inputs import find_results
from fsr_plugins.restore.network import FaceNetwork, Json
from fsr_plugins.restore.restorers import AlignedFaces, PhotographFaces, Photographs, Restorer, Wrong
from fsr_plugins.stores.images import encode_png

logger = logging.getLogger(__name__)

#: Pixels of pictures and their results that are held at once.
IN_FLIGHT = 32_000_000


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
        precision, engine: of the network's arithmetic, see :mod:`fsr_plugins.restore.forward`.
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
    precision: InferencePrecision = 'auto'
    engine: Engine = 'auto'
    param_key: str | None = None
    overwrite: bool = False
    skip_existing: bool = False


def restore(request: RestoreRequest) -> Json:
    """Enlarges and writes; a picture that cannot be read or does not fit keeps none of the others from being done.

    At most :data:`IN_FLIGHT` pixels are held at once, or one picture that has more with its result.

    Returns:
        ``{"checkpoint", "pictures": {input: {"result", "alpha": "dropped" (if it had alpha), "faces" (of a photograph),
        "enlarged" (of it)}}, "failed": {input: why}, "left_out": {folder: {"other_kinds", "folders"}}, "skipped",
        "seconds"}``.

    Raises:
        UserError: something of the request does not fit, and nothing was written.
        RunError: a result cannot be written.
    """
    wanted = find_results(request.inputs, request.out, request.overwrite or request.skip_existing)
    network = _opened(request)
    restorer: Restorer
    restorer = (
        AlignedFaces(network, request.fit)
        if request.photographs is None
        else PhotographFaces(network, request.photographs)
    )
    results = wanted.results
    todo = [source for source, result in results.items() if not (request.skip_existing and result.exists())]
    started = time.perf_counter()
    pictures: Json = {}
    failed: Wrong = dict(wanted.failed)
    with ThreadPoolExecutor() as pool:
        for encoded in _groups(todo, restorer, failed):
            read: dict[Path, Image] = {}
            for picture, image in zip(encoded, pool.map(_decoded_or_why, encoded), strict=True):
                if isinstance(image, str):
                    failed[picture.source] = image
                else:
                    read[picture.source] = image
            made, unfit = restorer.make(read)
            failed |= unfit
            list(pool.map(_write, map(results.__getitem__, made), (image for image, _ in made.values())))
            with_alpha = {picture.source for picture in encoded if picture.header.alpha}
            for source, (_, about) in made.items():
                dropped = {'alpha': 'dropped'} if source in with_alpha else {}
                pictures[str(source)] = {'result': str(results[source]), **dropped, **about}
            not_done = len(failed) - len(wanted.failed)
            more = f', {not_done} cannot be done' if not_done else ''
            logger.info('%d of %d pictures%s', len(pictures), len(todo), more)
    transparent = [source for source, about in pictures.items() if 'alpha' in about]
    if transparent:
        logger.warning(
            'Alpha of %d pictures was dropped: what it hid shows (%s is one).', len(transparent), shown(transparent[0])
        )
    bare = [source for source, about in pictures.items() if about.get('faces') == []]
    if bare:
        logger.warning('0 faces were found in %d of %d pictures (%s is one).', len(bare), len(pictures), shown(bare[0]))
    return {
        'checkpoint': str(request.checkpoint),
        'pictures': pictures,
        'failed': {str(source): why for source, why in failed.items()},
        'left_out': wanted.left_out,
        'skipped': len(results) - len(todo),
        'seconds': round(time.perf_counter() - started, 2),
    }


def _opened(request: RestoreRequest) -> FaceNetwork:
    """The network of a request, for the size and in the precision that it says."""
    device = _device(request.device)
    network = FaceNetwork.open(request.checkpoint, device, request.param_key)
    if isinstance(network.net, nn.Module):
        network = replace(network, net=Forward(network.net, device, request.precision, request.engine))
    return network if request.size is None else network.of_size(request.size)


class _Encoded(NamedTuple):
    """A picture that has been read but not decoded."""

    source: Path
    header: Header
    data: bytes


def _groups(todo: Sequence[Path], restorer: Restorer, failed: Wrong) -> Iterator[list[_Encoded]]:
    """Pictures that are worked on together; why others cannot be is noted in ``failed``."""
    group: list[_Encoded] = []
    pixels = 0
    for source in todo:
        try:
            data = read_bytes(source)
            header = look_at(data, shown(source))
        except UserError as error:
            failed[source] = str(error)
            continue
        why = restorer.unfit(header)
        if why is not None:
            failed[source] = f"'{shown(source)}' {why}"
            continue
        more = restorer.pixels(header)
        if group and (pixels + more > IN_FLIGHT or len(group) == restorer.together):
            yield group
            group, pixels = [], 0
        group.append(_Encoded(source, header, data))
        pixels += more
    if group:
        yield group


def _decoded_or_why(picture: _Encoded) -> Image | str:
    try:
        return decode_image(picture.data, shown(picture.source))
    except UserError as error:
        return str(error)


def _write(file: Path, image: Image) -> None:
    write_atomically(file, lambda handle: handle.write(encode_png(image)))


def _device(name: str) -> torch.device:
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # a device that holds no values ('meta') gives none back
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that knows no CUDA
        raise UserError(
            f"--device {name}: not here ({str(error).splitlines()[0]}); 'auto' takes what there is."
        ) from error
    return device
