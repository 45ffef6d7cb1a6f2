"""Reading weight files: tensors and plain values only, never code; what is damaged is refused."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load as load_safetensors
from torch import _weights_only_unpickler

from fsr_plugins.checkpoints.archive import check_archive, is_archive
from fsr_plugins.checkpoints.bundled import bundled, resolved
from fsr_plugins.checkpoints.layout import HOLDERS, PARAMS, StateDict, is_state_dict, listed, state_in
from fsr_plugins.checkpoints.meta import meta_in
from fsr_plugins.checkpoints.tensorflow_js import SUFFIX, manifest_of, read_tensorflow_js
from fsr_plugins.checkpoints.tensors import check_plain, shown
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near

logger = logging.getLogger(__name__)

#: Of what torch's reader calls: zeros of a length that the file names, and copies of a tensor of which the file holds
#: one number.
_MAKES_MORE = (
    'builtins.bytearray',
    'torch._utils._rebuild_device_tensor_from_cpu_tensor',
    'torch._utils._rebuild_device_tensor_from_numpy',
)
#: torch has one table of them for all threads.
_TABLE = threading.Lock()


def load_state(path: str | Path, *, sha256: str | None = None) -> Any:
    """Reads a checkpoint to the CPU with ``weights_only=True``: code in it is refused, not run.

    The sums that a zip archive carries are compared, which is what ``torch.save`` writes. A file of another form has
    none: it is checked by its digest where that is known. safetensors has none either, but every byte has its place.
    Numbers of TensorFlow.js (``.bin``) are read where their manifest lies beside them.

    Args:
        path: the file, or the name of a bundled network.
        sha256: hexadecimal SHA-256 that the file must have, whole or its first digits; None: it is not known.

    Raises:
        UserError: the file is absent, damaged, another one, not a checkpoint, or holds more than plain dense tensors
            and plain values.
    """
    path, known = resolved(path)
    sha256 = sha256 or known
    try:
        if not Path(path).exists():
            hint = near(str(path), bundled()) if len(Path(path).parts) == 1 else ''
            raise UserError(f"There is no weight file '{path}'.{hint}")
        if not Path(path).is_file():
            raise UserError(f"'{path}' is no file: give a checkpoint.")
        # One opening: what is checked is what is read, also where the file is replaced meanwhile.
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"'{path}' is empty: replace it by a whole copy.")
            _check_digest(file, path, sha256)
            if Path(path).suffix == '.safetensors':
                # Not by a map of the file: what is overwritten later would change what was read, or end the process.
                content: Any = load_safetensors(file.read())
            elif Path(path).suffix == SUFFIX and manifest_of(path).is_file():
                content = read_tensorflow_js(file, path)
            else:
                if is_archive(file):
                    check_archive(file, path)
                with _only_what_is_in_it():
                    content = torch.load(file, map_location='cpu', weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"'{path}' is no checkpoint of tensors and plain values (it was not run); give one saved as a state dict."
            f'{_without_manifest(path)}'
        ) from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a faulty pickle, or header of safetensors, fails in any way
        # A key that is not there is a byte of the file, and its end has no words.
        words = '' if isinstance(error, KeyError | EOFError) else str(error)
        reason = f' ({words.splitlines()[0][:200]})' if words else ''
        raise UserError(
            f"'{path}' is no checkpoint, or it is cut short{reason}: replace it by a whole copy."
            f'{_without_manifest(path)}'
        ) from error
    check_plain(content, f"'{path}'")
    return content


@contextmanager
def _only_what_is_in_it() -> Iterator[None]:
    """Inside, torch's reader does not call what makes more of a file than it holds, though it runs no code either."""
    allowed: dict[str, object] = getattr(_weights_only_unpickler, '_get_allowed_globals', dict)()
    with _TABLE:
        taken_out = {name: allowed.pop(name) for name in _MAKES_MORE if name in allowed}
        try:
            yield
        finally:
            allowed.update(taken_out)


def _without_manifest(path: str | Path) -> str:
    """A further sentence of a message, on a file whose manifest may be missing."""
    if Path(path).suffix != SUFFIX:
        return ''
    return f" If it is TensorFlow.js's, '{manifest_of(path).name}' belongs beside it."


def _check_digest(file: BinaryIO, path: str | Path, sha256: str | None) -> None:
    """Compares an open file's digest with the one that is known, and leaves the file at its beginning."""
    if sha256 is None:
        return
    found, block = hashlib.sha256(), memoryview(bytearray(1 << 20))
    while size := file.readinto(block):  # type: ignore[attr-defined]  # of every file that is opened
        found.update(block[:size])
    file.seek(0)
    if not found.hexdigest().startswith(sha256.lower()):
        raise UserError(
            f"'{path}' is damaged or another file: its SHA-256 begins with {found.hexdigest()[:8]}, not {sha256[:8]}. "
            'Replace it by a whole copy.'
        )


def read_weights(path: str | Path, param_key: str | None = PARAMS, sha256: str | None = None) -> StateDict:
    """The state dict in a checkpoint of BasicSR's or another known layout, or a bare state dict.

    Args:
        param_key: ``params`` or ``params_ema``; where the file has no such key, the next known one is used.
        sha256: as for :func:`load_state`.

    Raises:
        UserError: the file is missing, damaged, holds no state dict or values that are no finite numbers, or says of
            itself what is not understood.
    """
    content = load_state(path, sha256=sha256)
    meta_in(content, f"'{path}'")
    return weights_in(content, f"'{path}'", param_key)


def weights_in(
    content: object, source: str, param_key: str | None = PARAMS, known: Sequence[str] = HOLDERS
) -> StateDict:
    """The state dict in what was read of a file; see :func:`read_weights`.

    Args:
        source: how messages call the file.
        known: keys under which a state dict may be, in the order in which they are tried.
    """
    parts = content if isinstance(content, dict) else {}
    if param_key not in (None, *known) and not is_state_dict(parts.get(param_key)):
        held = f' Its keys are: {listed(parts)}.' if parts else ''
        raise UserError(f"{source} has no weights under {shown(param_key)}: give 'params' or 'params_ema'.{held}")
    holders = (param_key, *(key for key in known if key != param_key)) if param_key else known
    state = state_in(content, source, holders)
    found = next((key for key in holders if is_state_dict(parts.get(key))), None)
    if param_key and found not in (None, param_key):
        logger.info("%s has no weights under '%s': using '%s'.", source, param_key, found)
    return state
