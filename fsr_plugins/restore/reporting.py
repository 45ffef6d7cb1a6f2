"""What is said of an enlargement: how far it is, what was lost, which options had no effect and what failed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from fsr_plugins.images import shown
from fsr_plugins.restore.network import Json
from fsr_plugins.restore.pictures import Extension
from fsr_plugins.restore.video.kinds import Divided, is_clip
from fsr_plugins.wording import many

logger = logging.getLogger(__name__)

#: So many inputs that failed for one reason are named one by one; of more, one is.
_NAMED = 5


def progress(pictures: Json, todo: int, not_done: int, seconds: float) -> None:
    """Says how many pictures are done.

    Args:
        pictures: what is said of each that is.
        todo: how many there are.
        not_done: how many of them are known to have no result.
    """
    faces = sum(len(about['faces']) if 'faces' in about else 1 for about in pictures.values())
    more = f', {not_done} cannot be done' if not_done else ''
    seconds = max(seconds, 1e-3)
    logger.info(
        '%d of %d pictures%s; %.1f pictures/s, %.1f faces/s',
        len(pictures), todo, more, len(pictures) / seconds, faces / seconds,
    )  # fmt: skip


def warn_of_losses(pictures: Json, saves_faces: bool) -> None:
    """Says what was lost of pictures, where no face was found, and that there were none to save."""
    opaque = [source for source, about in pictures.items() if 'alpha' in about]
    if opaque:
        logger.warning(
            'Alpha of %s was dropped, for a JPEG has none: what it hid shows (%s is one).',
            many(len(opaque), 'picture'),
            shown(opaque[0]),
        )
    moving = [source for source, about in pictures.items() if 'frames_left_out' in about]
    if moving:
        logger.warning(
            'Of %s with several frames or pages the first alone was enlarged (%s is one, of %d): write the frames into '
            'a folder and give it with --video.',
            many(len(moving), 'picture'),
            shown(moving[0]),
            1 + pictures[moving[0]]['frames_left_out'],
        )
    bare = [source for source, about in pictures.items() if about.get('faces') == []]
    if bare:
        among = many(len(pictures), 'picture')
        logger.warning('0 faces were found in %d of %s (%s is one).', len(bare), among, shown(bare[0]))
    if saves_faces and pictures and not any('faces' in about for about in pictures.values()):
        logger.warning('--save-faces has no effect: no picture is a photograph in which faces were looked for.')


def warn_of_clips(inputs: Divided, extension: Extension, saves_faces: bool) -> None:
    """Says which options have no effect on clips.

    Args:
        saves_faces: whether single faces are asked for.
    """
    if inputs.files and extension in ('jpg', 'webp'):
        clip, result = next(iter(inputs.files.items()))
        logger.warning("--ext %s has no effect on clips: '%s' becomes '%s'.", extension, shown(clip), shown(result))
    if saves_faces and (inputs.files or inputs.folders):
        logger.warning('--save-faces has no effect on clips: their faces are not written one by one.')


def failures(failed: Mapping[str, str]) -> str:
    """How many inputs failed, and a line for each reason: ``2 pictures and 1 clip failed:``, say.

    Args:
        failed: by input, why it has no result.
    """
    clips = sum(is_clip(Path(source)) or os.path.isdir(source) for source in failed)
    pictures = f'{many(len(failed) - clips, "picture")} and ' if clips < len(failed) else ''
    count = f'{pictures}{many(clips, "clip")}' if clips else str(len(failed))
    reasons: dict[str, list[str]] = {}
    for source, why in failed.items():
        # A reason that begins with its input is that of others, too.
        reasons.setdefault(why.removeprefix(f"'{shown(source)}'"), []).append(source)
    lines = [line for sources in reasons.values() for line in _lines(sources, failed[sources[0]], failed)]
    return '\n'.join([f'{count} failed:', *lines])


def _lines(sources: list[str], why: str, failed: Mapping[str, str]) -> list[str]:
    first = shown(sources[0])
    if f"'{first}'" not in why:
        return [f"- {why} ({many(len(sources), 'picture')}, '{first}' is one)"]
    if len(sources) <= _NAMED:
        return [f'- {failed[source]}' for source in sources]
    return [f'- {why} (and {many(len(sources) - 1, "other")} likewise; --json FILE names all)']
