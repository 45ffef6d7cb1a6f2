"""Which files are clips, and what is needed to read them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fsr_plugins.errors import UserError

#: Files that are taken for clips.
CLIPS = frozenset(
    {'.mp4', '.m4v', '.mov', '.3gp', '.mkv', '.webm', '.avi', '.mpg', '.mpeg', '.ts', '.mts', '.m2ts', '.flv', '.ogv'}
)
#: Files whose result is a Matroska file; QuickTime stays QuickTime, any other becomes an MP4.
_MATROSKA = frozenset({'.mkv', '.webm'})


def installed() -> bool:
    """Whether clips can be read here."""
    return find_spec('av') is not None


def check_installed() -> None:
    """Refuses clips where PyAV is missing.

    Raises:
        UserError: it is.
    """
    if not installed():
        raise UserError("clips need PyAV: pip install 'fsr_plugins[video]'.")


def clip_suffix(source_suffix: str) -> str:
    """The suffix of a clip's result, by that of its input's: ``.mkv``, ``.mov`` or ``.mp4``."""
    lower = source_suffix.lower()
    return '.mkv' if lower in _MATROSKA else '.mov' if lower == '.mov' else '.mp4'


def is_clip(file: Path) -> bool:
    """Whether a file is taken for a clip, by its name."""
    return file.suffix.lower() in CLIPS


def beside_frames(frame: Path, result: Path) -> Path:
    """What names a folder of frames beside its results, by one frame and its result."""
    return result.parent / (frame.resolve().parent.name or 'frames')


def parts_of(result: Path) -> Path:
    """Where is kept what was done of a result so far, a folder beside it."""
    return result.with_name(f'{result.name}.parts')


class Divided(NamedTuple):
    """Inputs with the files of their results, by what they are.

    Attributes:
        pictures: single ones.
        files: clips.
        folders: by each folder, the frames of a clip.
    """

    pictures: dict[Path, Path]
    files: dict[Path, Path]
    folders: dict[Path, dict[Path, Path]]

    def total(self) -> int:
        """How many inputs there are; a folder of frames is one."""
        return len(self.pictures) + len(self.files) + len(self.folders)

    def not_done(self) -> Divided:
        """Those whose results are not all there, or were begun only."""
        return Divided(
            {source: result for source, result in self.pictures.items() if not result.exists()},
            {source: result for source, result in self.files.items() if not result.exists()},
            {folder: frames for folder, frames in self.folders.items() if not _done(frames)},
        )


def divided(results: Mapping[Path, Path], frames: bool) -> Divided:
    """Inputs by what they are.

    Args:
        results: by each input the file of its result.
        frames: whether the pictures of a folder are the frames of a clip.
    """
    files = {source: result for source, result in results.items() if is_clip(source)}
    pictures = {source: result for source, result in results.items() if source not in files}
    folders: dict[Path, dict[Path, Path]] = {}
    if frames:
        for source, result in pictures.items():
            folders.setdefault(source.parent, {})[source] = result
        pictures = {}
    return Divided(pictures, files, folders)


def _done(frames: Mapping[Path, Path]) -> bool:
    first, result = next(iter(frames.items()))
    return not parts_of(beside_frames(first, result)).is_dir() and all(file.exists() for file in frames.values())
