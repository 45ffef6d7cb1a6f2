"""Parts of a dataset that is being prepared, kept until all are there: what makes it resumable.

They lie beside the destination in ``.<name>.parts/``: a file a part, written atomically, and the fingerprint of
the plan.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from filelock import FileLock, Timeout

from fsr_plugins.atomic import cannot_be_made, write_atomically, write_text
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.plan import Item, ItemResult, Skip
from fsr_plugins.stores.encoding import EncodedFace, Encoding, encode_face

#: Items of a part: what an interruption can cost each thread.
PART = 64


class FaceRecord(NamedTuple):
    """A face of a part without its bytes: key, name in the source, person, SHA-256 of the stored pixels."""

    key: str
    name: str
    person: str | int | None
    digest: str


class _IndexEntry(TypedDict):
    """A face in a part's index; its bytes, and behind them its parsing map's, follow those of the face before."""

    key: str
    name: str
    person: str | int | None
    height: int
    width: int
    landmarks: list[list[float]] | None
    bytes: int
    parsing_bytes: int
    digest: str


class Parts:
    """The parts of one destination.

    Args:
        dst: where the whole will be.
        fingerprint: of the plan, see :meth:`fsr_plugins.prepare.plan.PreparationPlan.fingerprint`.
    """

    def __init__(self, dst: Path, fingerprint: str) -> None:
        self.dst, self.fingerprint = dst, fingerprint
        self.folder = dst.parent / f'.{dst.name}.parts'

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone with the folder, which is made; the system gives the right back however the process ends.

        Raises:
            UserError: another process has it, it cannot be written, or its parts are of another plan.
            DiskError: the disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / 'lock').acquire(blocking=False)
        except Timeout as error:
            raise UserError(f"Another process is preparing '{self.dst}'; wait for it.") from error
        except OSError as error:
            raise cannot_be_made(self.dst.parent, error, 'choose another place') from error
        with lock:
            said = self.folder / 'plan'
            if not said.exists():
                write_text(said, self.fingerprint)
            elif said.read_text(encoding='utf-8') != self.fingerprint:
                raise UserError(
                    f"'{self.folder}' holds the beginning of another preparation of '{self.dst}' (other arguments, or "
                    'another source): finish it with the command that began it, or remove that folder.'
                )
            yield

    def file(self, number: int) -> Path:
        """Where part ``number`` lies once it is made."""
        return self.folder / f'{number:06d}.npz'

    def are_there(self, count: int) -> bool:
        """Whether there are so many parts, one at least."""
        return count > 0 and all(self.file(number).exists() for number in range(count))

    def write(
        self,
        number: int,
        items: Sequence[Item],
        made: Iterable[ItemResult],
        encoding: Encoding,
        with_alpha: Collection[str] = (),
    ) -> None:
        """Encodes what the items of a part have become and writes it.

        Args:
            with_alpha: names of pictures that have alpha, as far as they are known when all is made.

        Raises:
            RunError: the disk is full.
            ValueError: an item has become nothing, or something of another item was said.
        """
        faces: list[_IndexEntry] = []
        skips: list[Skip] = []
        blobs: list[bytes | memoryview] = []
        for item, results in zip(items, made, strict=True):
            if not results:
                raise ValueError(f"'{item.name}' has neither a face nor a reason: an item needs one.")
            for result in results:
                if isinstance(result, Skip):
                    skips.append(result)
                else:
                    face = encode_face(result, encoding)
                    parsing = b'' if face.parsing is None else face.parsing
                    blobs += [face.image, parsing]
                    faces.append(
                        {
                            'key': face.key,
                            'name': item.name,
                            'person': item.person,
                            'height': face.height,
                            'width': face.width,
                            'landmarks': None if face.landmarks is None else face.landmarks.tolist(),
                            'bytes': len(face.image),
                            'parsing_bytes': len(parsing),
                            'digest': hashlib.sha256(face.image).hexdigest(),
                        }
                    )
        alpha = any(face['name'] in with_alpha for face in faces)
        index = json.dumps({'faces': faces, 'skipped': skips, **({'alpha': True} if alpha else {})}).encode()
        arrays = {'index': np.frombuffer(index, np.uint8), 'data': np.frombuffer(b''.join(blobs), np.uint8)}
        write_atomically(self.file(number), lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]

    def entries(self, number: int) -> tuple[list[FaceRecord], list[Skip], bool]:
        """What a part holds, without its images, what it left out, and whether any picture had alpha."""
        with np.load(self.file(number), allow_pickle=False) as arrays:
            index = json.loads(arrays['index'].tobytes())
        faces = [FaceRecord(face['key'], face['name'], face['person'], face['digest']) for face in index['faces']]
        return faces, [Skip(*skip) for skip in index['skipped']], index.get('alpha', False)

    def faces(self, number: int) -> Iterator[EncodedFace]:
        """The faces of a part, encoded, without identity."""
        with np.load(self.file(number), allow_pickle=False) as arrays:
            index, data = json.loads(arrays['index'].tobytes()), memoryview(arrays['data'])
        place = 0
        for face in index['faces']:
            image = data[place : place + face['bytes']]
            place += face['bytes']
            parsing = data[place : place + face['parsing_bytes']] if face['parsing_bytes'] else None
            place += face['parsing_bytes']
            points = None if face['landmarks'] is None else np.array(face['landmarks'], np.float32)
            yield EncodedFace(face['key'], face['height'], face['width'], image, None, points, parsing)

    def remove(self) -> None:
        """Deletes all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)
