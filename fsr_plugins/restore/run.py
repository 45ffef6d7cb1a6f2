"""Pictures and clips in, larger ones out: what ``fsr infer`` does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fsr_plugins.atomic import check_writable, write_atomically
from fsr_plugins.engine.memory import give_back_freed_memory, keep_freed_memory
from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import Header, look_at, pixels_claimed, read_bytes, shown
from fsr_plugins.restore.choosing import Mode, enlarger
from fsr_plugins.restore.forward import Engine, InferencePrecision
from fsr_plugins.restore.inputs import Naming, check_folders, find_results
from fsr_plugins.restore.network import FaceNetwork, Json
from fsr_plugins.restore.opening import open_network
from fsr_plugins.restore.pictures import NO_ALPHA, Extras, decode, encode, unfit
from fsr_plugins.restore.reporting import progress, warn_of_clips, warn_of_losses
from fsr_plugins.restore.restorers import Enlarger, Photographs, Result, Wrong
from fsr_plugins.restore.saved_faces import SavedFaces
from fsr_plugins.restore.video.kinds import Divided, divided, is_clip
from fsr_plugins.restore.video.run import ClipJobs, restore_clips

#: Pixels of pictures and their results that are held at once.
IN_FLIGHT = 8_000_000
#: Pixels of a small picture and its result: a face, not a photograph.
_SMALL = 1_000_000


@dataclass(frozen=True)
class RestoreRequest:
    """What is to be enlarged, by what, and where it goes.

    Attributes:
        checkpoint: a network file of this toolkit.
        inputs: images, clips, and folders of them.
        out: folder for the results; see :func:`~fsr_plugins.restore.inputs.find_results`.
        size: height and width of LR, where the checkpoint does not say it.
        fit: bring every picture to that size first; without, one of another size ends the command.
        mode: what the pictures are; see :class:`~fsr_plugins.restore.Restorer`.
        photographs: how faces are looked for in photographs.
        device: ``auto``, ``cpu``, ``cuda``, …
        precision, engine: of the network's arithmetic, see :mod:`fsr_plugins.restore.forward`.
        param_key: ``params`` or ``params_ema``; None: the averaged weights where there are some.
        batch_size: faces that go through the network together; None: 32, fewer of large ones.
        naming: the names of results, and which folders are looked into.
        save_faces: folder for LR and SR of each restored face of photographs, PNG; None: they are not written.
        overwrite: results that are there already are replaced.
        skip_existing: pictures that have a result already are left out.
    """

    checkpoint: Path
    inputs: Sequence[Path]
    out: Path
    size: tuple[int, int] | None = None
    fit: bool = False
    mode: Mode = 'auto'
    photographs: Photographs = field(default_factory=Photographs)
    device: str = 'auto'
    precision: InferencePrecision = 'auto'
    engine: Engine = 'auto'
    param_key: str | None = None
    batch_size: int | None = None
    naming: Naming = field(default_factory=Naming)
    save_faces: Path | None = None
    overwrite: bool = False
    skip_existing: bool = False


def restore(request: RestoreRequest) -> Json:
    """Enlarges and writes; a picture that cannot be read or does not fit keeps none of the others from being done.

    At most :data:`IN_FLIGHT` pixels are held at once, or one picture that has more with its result.

    Returns:
        ``{"checkpoint", "pictures": {input: {"result", "alpha": "dropped" (if it had alpha that its result cannot
        have), "frames_left_out" (of an animation), "faces" (of a photograph), "enlarged" (of it)}}, "clips": {input:
        see :func:`~fsr_plugins.restore.video.run.restore_clips`}, "failed": {input: why}, "left_out": {folder:
        {"other_kinds", "folders"}}, "skipped", "seconds"}``.

    Raises:
        UserError: something of the request does not fit, and nothing was written.
        RunError: a result cannot be written.
    """
    wanted = find_results(request.inputs, request.out, request.overwrite or request.skip_existing, request.naming)
    if request.save_faces is not None:
        _check_saved_faces(request.save_faces, request, list(wanted.results.values()))
    network = open_network(
        request.checkpoint,
        request.device,
        request.precision,
        request.param_key,
        request.size,
        request.batch_size,
        request.engine,
    )
    every = divided(wanted.results, request.naming.frames)
    todo = every.not_done() if request.skip_existing else every
    warn_of_clips(every, request.naming.extension, request.save_faces is not None)
    started = time.perf_counter()
    # First: how the network is run is settled by clips, not by whatever pictures come before.
    clips, failed = _clips(request, todo, network)
    failed |= wanted.failed
    clips_failed = len(failed) - sum(not is_clip(source) for source in wanted.failed)
    count = len(todo.pictures) + len(failed) - clips_failed
    pictures: Json = {}
    if every.pictures:
        working = enlarger(network, request.mode, request.photographs, request.fit)
        with ThreadPoolExecutor() as pool:
            for group in _groups(_largest_first(todo.pictures, request.mode), working, failed):
                _keep_memory(group, working)
                # A call of its own, so that nothing of a group is held while the next one is worked on.
                done, wrong = _work_on(group, request, working, every.pictures, pool)
                pictures |= done
                failed |= wrong
                progress(pictures, count, len(failed) - clips_failed, time.perf_counter() - started)
    pictures = {each: pictures[each] for each in map(str, todo.pictures) if each in pictures}
    warn_of_losses(pictures, saves_faces=request.save_faces is not None)
    return {
        'checkpoint': str(request.checkpoint),
        'pictures': pictures,
        'clips': clips,
        'failed': {str(source): why for source, why in failed.items()},
        'left_out': wanted.left_out,
        'skipped': every.total() - todo.total(),
        'seconds': round(time.perf_counter() - started, 2),
    }


def _check_saved_faces(folder: Path, request: RestoreRequest, results: Sequence[Path]) -> None:
    """Sees that faces can be saved in a folder, and what is there already may be replaced."""
    check_writable(folder, '--save-faces')
    saved = SavedFaces(folder, request.out)
    check_folders((saved.files(result, 0)[0] for result in results), folder, '--save-faces')
    if not request.overwrite:
        saved.check_free(results)


def _largest_first(pictures: Iterable[Path], mode: Mode) -> list[Path]:
    """The largest first, except for faces, which are small; pictures of one size in the order given.

    A process holds a little more after pictures of other sizes. So the most is what the largest needs by itself, and
    what cannot be held is found out at the beginning.
    """
    return list(pictures) if mode == 'face' else sorted(pictures, key=pixels_claimed, reverse=True)


def _keep_memory(group: Sequence[_Encoded], working: Enlarger) -> None:
    """Batches of small pictures reuse memory, which takes a third less time; photographs give back all they can."""
    if all(working.pixels(picture.header) <= _SMALL for picture in group):
        keep_freed_memory()
    else:
        give_back_freed_memory()


def _clips(request: RestoreRequest, todo: Divided, network: FaceNetwork) -> tuple[Json, Wrong]:
    """Restores clips and folders of frames: what is to be said of each, and why others have no result."""
    places = [*todo.files, *todo.folders]
    if not places:
        return {}, {}
    if request.mode == 'face':
        why = 'is a clip, and every picture is a face by --aligned or --fit: leave out the option, or the clip.'
        return {}, {place: f"'{shown(place)}' {why}" for place in places}
    return restore_clips(
        ClipJobs(
            todo.files,
            todo.folders,
            network,
            request.checkpoint,
            request.photographs,
            param_key=request.param_key,
            anew=request.overwrite,
        )
    )


def _work_on(
    group: Sequence[_Encoded], request: RestoreRequest, working: Enlarger, results: Mapping[Path, Path], pool: Executor
) -> tuple[Json, Wrong]:
    """Decodes, enlarges and writes some pictures: what is to be said of each, and why others have no result."""
    pictures: Json = {}
    failed: Wrong = {}
    read: dict[Path, Image] = {}
    extras: dict[Path, Extras] = {}
    for picture, decoded in zip(group, pool.map(_decoded_or_why, group), strict=True):
        if isinstance(decoded, str):
            failed[picture.source] = decoded
        else:
            read[picture.source], extras[picture.source] = decoded
    made, wrong = working.make(read)
    failed |= wrong
    jobs = [_Job(source, results[source], result, extras[source]) for source, result in made.items()]
    for job, why in zip(jobs, pool.map(partial(_write, request), jobs), strict=True):
        if why is None:
            pictures[str(job.source)] = _about(job)
        else:
            failed[job.source] = f"'{shown(job.source)}' {why}"
    return pictures, failed


class _Job(NamedTuple):
    """A result that is to be written."""

    source: Path
    file: Path
    made: Result
    extras: Extras


def _write(request: RestoreRequest, job: _Job) -> str | None:
    """Writes a result and its faces; or says, as :func:`pictures.unfit`, why it cannot be a file of its kind."""
    why = unfit(job.file.suffix, job.made.image.shape)
    if why is not None:
        return why
    data = encode(job.made.image, job.extras, job.file.suffix)
    job.file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(job.file, lambda handle: handle.write(data))
    if request.save_faces is None:
        return None
    SavedFaces(request.save_faces, request.out).write(job.file, job.made.faces)
    return None


def _about(job: _Job) -> Json:
    dropped = job.extras.alpha is not None and job.file.suffix.lower() in NO_ALPHA
    said = {'alpha': 'dropped'} if dropped else {}
    more = {} if job.extras.more is None else {'frames_left_out': job.extras.more}
    return {'result': str(job.file), **said, **more, **job.made.about}


class _Encoded(NamedTuple):
    """A picture that has been read but not decoded."""

    source: Path
    header: Header
    data: bytes


def _groups(todo: Sequence[Path], working: Enlarger, failed: Wrong) -> Iterator[list[_Encoded]]:
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
        why = working.unfit(header)
        if why is not None:
            failed[source] = f"'{shown(source)}' {why}"
            continue
        more = working.pixels(header)
        if group and (pixels + more > IN_FLIGHT or len(group) == working.together):
            yield group
            group, pixels = [], 0
        group.append(_Encoded(source, header, data))
        pixels += more
    if group:
        yield group


def _decoded_or_why(picture: _Encoded) -> tuple[Image, Extras] | str:
    try:
        return decode(picture.data, shown(picture.source), picture.header.alpha)
    except UserError as error:
        return str(error)
