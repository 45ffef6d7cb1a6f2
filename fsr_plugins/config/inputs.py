"""What the results of a stage come from: its options, the data and files that they name, and the processes at work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict, StrictInt, StrictStr, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from fsr_plugins.arguments import home_path
from fsr_plugins.config.fingerprint import Keys, leaves
from fsr_plugins.errors import UserError
from fsr_plugins.registry import lookup
from fsr_plugins.stores.checksum import faces_checksum
from fsr_plugins.stores.once import is_elsewhere
from fsr_plugins.stores.opening import open_store
from fsr_plugins.values import Block, Options
from fsr_plugins.weights import file_sha256

#: Blocks in which no file or set is named whose content matters, and keys that hold names.
_ASIDE = ('name', 'model_type', 'plugins', 'logger', 'dist_params')
_NAMES = ('name', 'type', 'resume_state')
_SCHEME = '://'


@with_config(ConfigDict(extra='allow'))
class StageInputs(TypedDict):
    """What training states and ``done.json`` keep of where weights and figures come from.

    Attributes:
        options: of the stage, complete.
        processes: how many train together, each on its own batch.
        content: a SHA-256 for every option that names files or faces which are there, by its dotted key.
    """

    options: Options
    processes: StrictInt
    content: dict[StrictStr, StrictStr]


class Change(TypedDict):
    """Options or data that were changed, and accepted, while a stage was being trained.

    Attributes:
        after: the iteration behind which they hold.
        changes: a line each.
    """

    after: StrictInt
    changes: list[StrictStr]


_INPUTS = TypeAdapter(StageInputs)


def read_inputs(found: object, source: str) -> StageInputs:
    """What a state or a record says.

    Raises:
        UserError: it says something else.
    """
    try:
        return _INPUTS.validate_python(found)
    except ValidationError as error:
        raise UserError(f"{source} is damaged: it does not say what the stage's options were.") from error


def gather_inputs(opt: Options, processes: int) -> StageInputs:
    """What a stage of these options would come from, now. A set is read once; after that its files are looked at.

    Raises:
        UserError: a file cannot be read.
    """
    return {'options': opt, 'processes': processes, 'content': dict(_content(opt))}


def _content(opt: Options) -> Iterator[tuple[str, str]]:
    for keys, value in leaves(opt):
        named = value if isinstance(value, list) else [value]
        texts = [text for text in named if isinstance(text, str)]
        if keys[0] in _ASIDE or keys[-1] in _NAMES or not texts or len(texts) < len(named):
            continue
        digests = [_digest(text, keys, opt) for text in texts]
        known = [digest for digest in digests if digest is not None]
        if len(known) == len(digests):
            key = '.'.join(keys)
            yield key, known[0] if len(known) == 1 else hashlib.sha256('\n'.join(known).encode()).hexdigest()


def _digest(text: str, keys: Keys, opt: Options) -> str | None:
    """The digest of a set or a file; None for what is none, is not there, or is there for a moment only."""
    if '\0' in text:
        return None
    path = home_path(text)
    looks_like_a_path = os.sep in text or '.' in text
    if looks_like_a_path and path.is_file():
        return file_sha256(path)
    if keys[0] != 'datasets':
        return None
    is_folder = (looks_like_a_path or keys[-1].startswith('dataroot')) and path.is_dir()
    if not is_folder and _SCHEME not in text:
        return None
    block = opt['datasets'][keys[1]]
    try:
        store = open_store(text, recursive=bool(block.get('recursive')))
        return None if is_elsewhere(store.path) else faces_checksum(store, parsing=_reads_parsing(block))
    except UserError:
        # Other people's datasets take folders of other kinds: of clips, for instance.
        return _listing(path) if is_folder else None


def _reads_parsing(block: Block) -> bool:
    """Whether a set may read parsing maps; sets of plugins may, whatever they say.

    Maps are often found later, for one method: what other stages came from is the same with them.
    """
    ours = lookup('datasets', str(block['type'])).__module__.startswith('fsr_plugins.')
    return not ours or 'parsing' in block.get('views', ())


def content_named_in(values: Options) -> dict[str, str]:
    """By dotted key, the digests of the files, and of all files in the folders, that plain values name."""
    found: dict[str, list[str]] = {}
    for keys, value in leaves(values):
        if keys[-1] == 'type':
            continue
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str) or not text:
                continue
            path = home_path(text)
            if os.path.isfile(path) or os.path.isdir(path):  # any text may be meant, such as one with '\0'
                digest = file_sha256(path) if path.is_file() else _listing(path, changed=True)
                found.setdefault('.'.join(keys), []).append(digest)
    return {key: ' '.join(digests) for key, digests in found.items()}


def _listing(folder: Path, changed: bool = False) -> str:
    """Over the names and lengths of all files below a folder; a link that leads nowhere has none.

    Args:
        changed: over the times of the last change too, for what need not be the same after a copy.
    """
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            file = Path(place, name)
            status = file.stat() if file.exists() else None
            said = '' if status is None else f'{status.st_size}'
            said += f' {status.st_mtime_ns}' if changed and status is not None else ''
            digest.update(os.fsencode(f'{file.relative_to(folder)}\n{said}\n'))
    return digest.hexdigest()
