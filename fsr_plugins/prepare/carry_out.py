"""Carrying out a plan: by all cores, in parts that survive an interruption, with an account of every image."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import cv2

from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.images import shown
from fsr_plugins.prepare.base import Format, Prepared, chosen_encoding, chosen_format
from fsr_plugins.prepare.parts import PART, Parts
from fsr_plugins.prepare.plan import DUPLICATE, Item, PreparationPlan, Skip
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.folder_writer import write_encoded_folder
from fsr_plugins.stores.lmdb_writer import LmdbWriter
from fsr_plugins.stores.manifest import Origin
from fsr_plugins.stores.progress import progress
from fsr_plugins.threads import available_cores

logger = logging.getLogger(__name__)

#: The account of all images, in the prepared folder or LMDB.
REPORT = 'report.json'
#: Bytes of a key that is a file's name, so that what is put behind it still fits.
_KEY_BYTES = 240


def carry_out(
    plan: PreparationPlan,
    dst: Path,
    *,
    form: Format | None = None,
    encoding: Encoding | None = None,
    threads: int | None = None,
) -> Prepared:
    """Makes all faces of a plan and writes them to ``dst``, which appears when it is complete.

    Interrupted at any moment and started again with equal arguments, it goes on, and ends in the same files as if it
    had not been interrupted. Parts need as much room beside ``dst`` as the result.

    Args:
        plan: what to do.
        dst: folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: of an LMDB; None: raw.
        threads: that make faces; None: one a core.

    Raises:
        UserError: ``dst`` exists, another process is at it, nothing is left, faces have the same key, or one that is
            no name of a file.
        RunError: the disk is full.
        Interrupted: by Ctrl-C.
    """
    form = chosen_format(dst, form)
    written = chosen_encoding(dst, form, encoding)
    _check_keys(plan.items, form)
    parts = Parts(dst, plan.fingerprint(f'{form} {written}'))
    chunks = [plan.items[start : start + PART] for start in range(0, len(plan.items), PART)]
    if os.path.lexists(dst) and not parts.are_there(len(chunks)):
        raise _exists(dst)
    with parts.held():
        try:
            _make(plan, chunks, parts, written, threads or available_cores())
        except KeyboardInterrupt:
            raise Interrupted(
                f'{plan.dataset}: stopped; what is done lies in {parts.folder}. Give the same command again to go on.',
                signal.SIGINT,
            ) from None
        prepared = _assemble(plan, len(chunks), parts, form, written)
        parts.remove()
    return prepared


def _check_keys(items: Sequence[Item], form: Format) -> None:
    """Refuses before the work a key that no store can hold, or no image of a folder can be called."""
    for key, name, *_ in items:
        if _is_no_text(key):
            raise UserError(f"'{shown(name)}' gives the key '{shown(key)}', which is no plain text: rename the image.")
        if form == 'folder' and '/' in key:
            raise UserError(f"The key '{key}' is a path, which an image of a folder cannot be called: write an LMDB.")
        if form == 'folder' and (key.startswith('.') or len(key.encode()) > _KEY_BYTES):
            why = 'hidden' if key.startswith('.') else 'too long a name'
            raise UserError(f"'{name}' gives the key '{key}', as a file {why}: rename the image, or write an LMDB.")


def _is_no_text(key: str) -> bool:
    try:
        return not key.encode() or any(ord(letter) < ord(' ') for letter in key)
    except UnicodeEncodeError:
        return True


def _make(
    plan: PreparationPlan, chunks: Sequence[Sequence[Item]], parts: Parts, encoding: Encoding, threads: int
) -> None:
    todo = [number for number in range(len(chunks)) if not parts.file(number).exists()]
    if len(todo) < len(chunks):
        logger.info('%s: %d of %d parts are there.', plan.dataset, len(chunks) - len(todo), len(chunks))
    cv2.setNumThreads(0)

    def make(number: int) -> range:
        with_alpha = () if plan.source is None else plan.source.with_alpha
        parts.write(number, chunks[number], plan.make(chunks[number]), encoding, with_alpha)
        return range(len(chunks[number]))

    total = sum(len(chunks[number]) for number in todo)
    import torch

    # As many workers as cores, so torch computes with one thread in each.
    with ThreadPoolExecutor(threads, 'prepare', initializer=torch.set_num_threads, initargs=(1,)) as pool:
        done = chain.from_iterable(pool.map(make, todo))
        for _ in progress(done, total, plan.dataset):
            continue


def _assemble(plan: PreparationPlan, count: int, parts: Parts, form: Format, encoding: Encoding) -> Prepared:
    people: dict[str, str | int | None] = {}
    first: dict[str, str] = {}
    skipped = list(plan.skipped)
    dropped: set[str] = set()
    alpha = False
    for number in range(count):
        entries, skips, had_alpha = parts.entries(number)
        skipped += skips
        alpha = alpha or had_alpha
        for entry in entries:
            if entry.key in people:
                raise UserError(f"'{entry.name}' and another image have the key '{entry.key}'; remove one.")
            twin = first.setdefault(entry.digest, entry.key)
            if plan.unique and twin != entry.key:
                dropped.add(entry.key)
                skipped.append(Skip(entry.name, DUPLICATE, f"has the pixels of '{twin}'"))
            else:
                people[entry.key] = entry.person
    ground = {'ground': plan.source.ground} if alpha and plan.source is not None else {}
    origin = Origin(
        dataset=plan.dataset,
        protocol=json.loads(json.dumps({**plan.protocol, **ground})),
        found=len(people) + len(skipped),
        skipped=dict(sorted(Counter(skip.reason for skip in skipped).items())),
    )
    if not people:
        parts.remove()
        example = f'For instance {skipped[0].name}: {skipped[0].detail or skipped[0].reason}' if skipped else ''
        raise UserError(f'No image of {plan.dataset} is left: {skip_counts(origin.skipped)}. {example}')
    labels = _labels(people.values())
    faces = (
        face._replace(identity=labels.get(people[face.key]))
        for number in range(count)
        for face in parts.faces(number)
        if face.key not in dropped
    )
    documents = {REPORT: _report(origin, len(people), skipped)}
    passing = progress(faces, len(people), 'writing')
    if os.path.lexists(parts.dst):
        # All parts are there, and so is what they are for: the process ended before it could remove them.
        if not _is_report(parts.dst / REPORT, documents[REPORT]):
            raise _exists(parts.dst)
    elif form == 'lmdb':
        with LmdbWriter(parts.dst, encoding, origin=origin, documents=documents) as writer:
            for face in passing:
                writer.add_encoded(face)
    else:
        write_encoded_folder(parts.dst, passing, origin=origin, documents=documents)
    return Prepared(str(parts.dst), len(people), len(labels), len(skipped), origin.skipped)


def _exists(dst: Path) -> UserError:
    return UserError(f"'{dst}' exists already; remove it or choose another place.")


def _is_report(path: Path, text: str) -> bool:
    """Whether a prepared set's account is this one."""
    try:
        return path.read_text(encoding='utf-8') == text
    except (OSError, UnicodeDecodeError):
        return False


def _labels(people: Iterable[str | int | None]) -> dict[str | int | None, int]:
    """The label of each person: a number as it is, names by their order."""
    known = {person for person in people if person is not None}
    names = sorted(person for person in known if isinstance(person, str))
    labels: dict[str | int | None, int] = {person: person for person in known if isinstance(person, int)}
    labels.update((name, label) for label, name in enumerate(names))
    return labels


def skip_counts(skipped: dict[str, int]) -> str:
    """``3 corrupt, 1 no face``."""
    return ', '.join(f'{number} {reason}' for reason, number in skipped.items()) or 'there were none'


def _report(origin: Origin, kept: int, skipped: Sequence[Skip]) -> str:
    content: dict[str, object] = {
        'dataset': origin.dataset,
        'protocol': origin.protocol,
        'found': origin.found,
        'kept': kept,
        'skipped': origin.skipped,
        'images': [{'name': skip.name, 'reason': skip.reason, 'detail': skip.detail} for skip in skipped],
    }
    return json.dumps(content, indent=1) + '\n'
