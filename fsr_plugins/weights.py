"""Pretrained weight files: where they are looked for, how they are fetched."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from fsr_plugins.arguments import home_path
from fsr_plugins.atomic import disk_error, is_disk_error
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)

#: Seconds without an answer after which a download is given up.
TIMEOUT = 20.0
#: The environment variable that forbids downloads; 1, true, yes and on do.
OFFLINE = 'FSR_OFFLINE'
_BLOCK = 1 << 20
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class WeightFile:
    """A published weight file.

    Attributes:
        name: what it is, for messages.
        url: where it is published.
        sha256: hexadecimal SHA-256, whole or its first digits (eight in torchvision's file names).
        filename: its name on disk.
        path: a local file to use instead, from an option.
        for_hub: read by code that knows torch hub's folder only (BasicSR's VGG): linked there once it is found.
        licence: under what terms it is published, shown when it is fetched; empty where its publisher does not say.
    """

    name: str
    url: str
    sha256: str
    filename: str
    path: str | None = None
    for_hub: bool = False
    licence: str = ''


def torchvision_weights(arch: str, name: str, *, for_hub: bool = False) -> WeightFile:
    """The ImageNet weights (``IMAGENET1K_V1``) that torchvision publishes for ``arch``, e.g. ``'vgg19'``.

    Raises:
        UserError: torchvision has no such network.
    """
    import torchvision

    try:
        url = torchvision.models.get_model_weights(arch)['IMAGENET1K_V1'].url
    except ValueError as error:
        raise UserError(f"torchvision has no network '{arch}' to take the weights of {name} from.") from error
    filename = url.rpartition('/')[2]
    # torchvision's files end in the first eight digits of their SHA-256: vgg19-dcbb9e9d.pth.
    return WeightFile(name, url, Path(filename).stem.rpartition('-')[2], filename, for_hub=for_hub)


def folder() -> Path:
    """Where weight files are kept: ``$FSR_WEIGHTS``, else ``~/.cache/fsr_plugins/weights``."""
    return Path(os.environ.get('FSR_WEIGHTS') or Path.home() / '.cache' / 'fsr_plugins' / 'weights')


def offline() -> bool:
    """Whether ``FSR_OFFLINE`` forbids downloads."""
    return os.environ.get(OFFLINE, '').strip().lower() in {'1', 'true', 'yes', 'on'}


def locate(weight: WeightFile, path: str | Path | None = None) -> Path:
    """The local file of ``weight``: ``path`` if given, else one already on disk, else downloaded into :func:`folder`.

    torch hub's folder of checkpoints is looked into as well. With ``FSR_OFFLINE=1`` nothing is downloaded.

    Args:
        weight: what is wanted.
        path: a local file to use; ``weight.path`` if None.

    Raises:
        UserError: ``path`` does not exist, or the file is nowhere and cannot or may not be downloaded; the message
            says what is missing, where to put it and where it is published.
    """
    path = path or weight.path
    if path is not None:
        local = home_path(path)
        if not local.is_file():
            raise UserError(f"The weights of {weight.name} are not at '{local}': correct the path or leave it out.")
        return local
    import torch

    kept, in_hub = folder() / weight.filename, Path(torch.hub.get_dir()) / 'checkpoints' / weight.filename
    found = next((place for place in (kept, in_hub) if place.is_file()), None)
    if found is None:
        _download(weight, kept)
        found = kept
    else:
        check(found, weight)
    if weight.for_hub and not in_hub.is_file():
        try:
            in_hub.parent.mkdir(parents=True, exist_ok=True)
            in_hub.symlink_to(found.resolve())
        except FileExistsError:
            # Another process of this run was first; anything else that lies there is not ours to replace.
            if not in_hub.is_file():
                raise UserError(f"'{in_hub}' is a broken link: delete it.") from None
        except OSError as error:
            raise UserError(f"'{found}' is needed in {in_hub.parent} too, which cannot be written: {error}.") from error
    return found


def check(path: Path, weight: WeightFile) -> None:
    """Refuses a file that is not the published one.

    Raises:
        UserError: its SHA-256 is another.
    """
    found = file_sha256(path)
    if not found.startswith(weight.sha256.lower()):
        raise UserError(
            f"'{path}' is not the published file of {weight.name}: its SHA-256 begins with {found[:8]}, "
            f'not {weight.sha256[:8]}; delete it.'
        )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hex."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(weight: WeightFile, target: Path) -> None:
    """Fetches to a temporary name beside ``target``, checks, renames: ``target`` is whole or absent."""
    place, home = target.parent, Path.home()
    # Messages may be published in a report: they do not name who runs this.
    said = f'~/{place.relative_to(home).as_posix()}' if place.is_relative_to(home) else str(place)
    digits = weight.sha256 if len(weight.sha256) == _SHA256_DIGITS else f'{weight.sha256}…'
    wanted = f"put '{weight.filename}' (SHA-256 {digits}, from {weight.url}) into {said}"
    if offline():
        raise UserError(f'The weights of {weight.name} are missing, and {OFFLINE} forbids to fetch them: {wanted}.')
    licence = weight.licence or 'not stated by the publisher'
    logger.info('fetching the weights of %s from %s (licence: %s)', weight.name, weight.url, licence)
    # Not of tempfile, whose files nobody else may read: people share the folder.
    partial = target.with_name(f'{weight.filename}.{secrets.token_hex(8)}')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(weight.url, timeout=TIMEOUT) as source, open(partial, 'xb') as file:
            shutil.copyfileobj(source, file, _BLOCK)
        if not file_sha256(partial).startswith(weight.sha256.lower()):
            raise OSError('what came has another SHA-256')
        partial.replace(target)
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and is_disk_error(error):
            raise disk_error(target, error.strerror) from error
        # urllib's own errors are OSErrors.
        raise UserError(f'The weights of {weight.name} cannot be downloaded ({error}): {wanted}.') from error
    finally:
        with suppress(OSError):  # there may be no such folder
            partial.unlink(missing_ok=True)
