"""Clips in, larger ones out: the part of ``fsr infer`` that is about clips."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fsr_plugins.checkpoints.bundled import resolved
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.restore.forward import Forward
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.restorers import PhotographFaces, Photographs, Wrong
from fsr_plugins.restore.video.encoding import encoder_name
from fsr_plugins.restore.video.kinds import beside_frames, check_installed
from fsr_plugins.restore.video.parts import Parts
from fsr_plugins.restore.video.restoring import STRETCH, ClipRestorer
from fsr_plugins.restore.video.source import ClipFile, FrameFolder, Source
from fsr_plugins.values import Record
from fsr_plugins.version import __version__
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipJobs:
    """Clips that are to be restored, alike.

    Attributes:
        files: by each clip, the file of its result.
        folders: by each folder of frames, of each of them the file of its result.
        network: enlarges faces.
        checkpoint: its file or name.
        how: as for photographs.
        param_key: which of its weights, as for :func:`fsr_plugins.load`.
        anew: what was begun otherwise is thrown away.
    """

    files: Mapping[Path, Path]
    folders: Mapping[Path, Mapping[Path, Path]]
    network: FaceNetwork
    checkpoint: Path
    how: Photographs
    param_key: str | None = None
    anew: bool = False


def restore_clips(jobs: ClipJobs) -> tuple[Record, Wrong]:
    """Restores clip after clip; one that cannot be read keeps none of the others from being done.

    Returns:
        by each clip or folder what :meth:`ClipRestorer.run` says, with ``result``, and of a file ``sounds``,
        ``left_out``, ``rotation`` and ``damaged``, the number of frames with errors; and why others have no result.

    Raises:
        RunError: a result cannot be written.
    """
    done: Record = {}
    failed: Wrong = {}
    try:
        faces = PhotographFaces(jobs.network, jobs.how)
        way = settled_way(jobs.network)
    except UserError as error:
        return {}, dict.fromkeys([*jobs.files, *jobs.folders], str(error))
    for place in [*jobs.files, *jobs.folders]:
        try:
            done[str(place)] = _restored(place, jobs, faces, way)
        except UserError as error:
            failed[place] = str(error) if shown(place) in str(error) else f"'{shown(place)}': {error}"
    return done, failed


def _restored(place: Path, jobs: ClipJobs, faces: PhotographFaces, way: str | None) -> Record:
    source: Source
    if place in jobs.folders:
        frames = jobs.folders[place]
        source, result = FrameFolder(frames), next(iter(frames.values())).parent
        parts = Parts(beside_frames(*next(iter(frames.items()))))
    else:
        check_installed()
        result = jobs.files[place]
        source, parts = ClipFile(place, result), Parts(result)
    restorer = ClipRestorer(source, faces, parts)
    source.check(restorer.times)
    with only_writer(parts.folder, 'choose another folder for the results'):
        parts.begin(_made_by(source, jobs, way), jobs.anew)
        logger.info("'%s': %d times %dx%d.", shown(place), restorer.times, source.size[1], source.size[0])
        found = {'result': str(result), **restorer.run(), **source.about()}
        parts.remove()
    if found.get('left_out'):
        logger.warning("'%s': left out are its streams of %s.", shown(place), ', '.join(found['left_out']))
    if found.get('damaged'):
        logger.warning(
            "'%s' is damaged: FFmpeg met errors in %d of its %d frames, and these and those after them may look wrong; "
            'give a whole copy.',
            shown(place),
            found['damaged'],
            found['frames'],
        )
    return found


def _made_by(source: Source, jobs: ClipJobs, way: str | None) -> Record:
    """All that a result depends on, as plain values."""
    files = {
        'checkpoint': resolved(jobs.checkpoint)[0],
        'detector_weights': jobs.how.weights,
        'seam_weights': jobs.how.seam_weights,
    }
    files['background'] = None if jobs.how.background is None else resolved(jobs.how.background)[0]
    digests = {name: file_sha256(file) for name, file in files.items() if file is not None and file.is_file()}
    options = asdict(jobs.how)
    for name in ('weights', 'background', 'seam_weights'):
        options[name] = None if options[name] is None else str(options[name])
    return {
        'clip': source.digest(),
        'results': source.named(),
        'size': list(source.size),
        'options': options,
        'files': digests,
        'param_key': jobs.param_key,
        'lr': list(jobs.network.known_size()),
        'device': jobs.network.device.type,
        'arithmetic': way,
        'encoder': encoder_name() if isinstance(source, ClipFile) else None,
        'stretch': STRETCH,
        'version': __version__,
    }


def settled_way(network: FaceNetwork) -> str | None:
    """How the network is run from now on: found out by the same faces on every call, not by those of a clip.

    Otherwise a run that goes on might begin with fewer faces than the one that was stopped, and choose otherwise.
    """
    size = network.known_size()
    if not isinstance(network.net, Forward):
        return None
    if network.net.way(size) is None:
        down, across = np.mgrid[0 : size[0], 0 : size[1]]
        face = np.stack([(8 * down) % 256, (6 * across) % 256, (down + across) % 256], axis=2).astype(np.uint8)
        network([face] * 4)
    return network.net.way(size)
