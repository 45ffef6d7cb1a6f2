"""From pictures to larger ones: a picture is a face, or faces are in it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.faces import best_without_download, check_names, ffhq_template, open_detector, open_parser, tiled
from fsr_plugins.faces.protocol import Detection, Floats, Image, Size
from fsr_plugins.faces.scaling import scale_back
from fsr_plugins.images import Header, shown
from fsr_plugins.restore import photograph
from fsr_plugins.restore.background import Background
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.photograph import FaceCrop
from fsr_plugins.stores.opening import open_store

logger = logging.getLogger(__name__)

#: Pixels of a picture that goes through a network as a whole; a larger one does so in tiles.
MOST_AT_ONCE = 1 << 18
#: Pixels of a result beyond which a picture is not enlarged.
MOST_RESULT_PIXELS = 4 * photograph.MOST_PIXELS


class Result(NamedTuple):
    """What was made of a picture.

    Attributes:
        image: uint8 (H, W, 3).
        about: what is to be said of it, plain values.
        faces: of each restored face in a photograph LR and SR, uint8 (h, w, 3).
    """

    image: Image
    about: dict[str, object]
    faces: Sequence[tuple[Image, Image]] = ()


#: What names a picture.
K = TypeVar('K', bound=Hashable)

#: By input, the result.
Made = dict[Path, Result]

#: By input, in a sentence, why it has no result; equal ones are of the network, not of a picture.
Wrong = dict[Path, str]


class Enlarger(Protocol):
    """How pictures become larger ones; ``together`` is how many are held in memory at once, at most."""

    together: int

    def pixels(self, header: Header) -> int:
        """How many pixels are held while a picture is worked on: its own and its result's."""

    def unfit(self, header: Header) -> str | None:
        """What is known to be wrong with a picture before it is decoded: a sentence whose subject is the picture."""

    def make(self, read: Mapping[Path, Image]) -> tuple[Made, Wrong]:
        """Results of pictures, uint8 (H, W, 3), and why others have none."""


@dataclass(frozen=True, kw_only=True)
class Photographs(FaceChoice):
    """How faces are looked for in photographs and restored.

    Attributes:
        detector: one of :data:`fsr_plugins.faces.DETECTORS`; None: what ``best_without_download`` of that room names.
        weights: a local file (or folder) of its weights; None: the published ones.
        like: where a face's points lie in what the network takes: as on average in a store with landmarks (a path or
            ``portraits://…``), or ``ffhq``; None: as the checkpoint says.
        enlarge: how many times the photograph is enlarged; None: see :func:`photograph.times`.
        background: a checkpoint of a network that enlarges the picture around the faces; None: bicubic.
        seam: what finds the outlines of the restored faces, one of :data:`fsr_plugins.faces.PARSERS`; None: ellipses.
        seam_weights: a local file (or folder) of its weights; None: the published ones.
    """

    detector: str | None = None
    weights: Path | None = None
    like: str | None = None
    enlarge: int | None = None
    background: Path | None = None
    seam: str | None = None
    seam_weights: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        # Either is opened with the first photograph, which may come late.
        check_names(self.detector, self.seam)
        if self.seam is None and self.seam_weights is not None:
            raise UserError('--seam-weights without --seam: name what the weights are of.')
        if self.enlarge is not None and self.enlarge < 1:
            raise UserError(f'--enlarge {self.enlarge}: at least 1 is needed.')


class AlignedFaces:
    """Every picture is a face; see :class:`Enlarger`.

    A network that does not say how large its LR is takes any picture, and a large one in tiles.

    Args:
        fit: bring it to the size of the network's LR first; without, one of another size has no result.
        times: how many times pictures of any size are enlarged; None: as the network does.

    Raises:
        UserError: ``fit``, and the size is not known.
    """

    together = 256

    def __init__(self, network: FaceNetwork, fit: bool, times: int | None = None) -> None:
        self.network, self.fit = network, fit
        self.times = times or network.scale
        if fit:
            network.known_size()

    def pixels(self, header: Header) -> int:
        """See :class:`Enlarger`."""
        height, width = self.network.known_size() if self.fit else header.shape
        return header.height * header.width + height * width * max(self.times, self.network.scale) ** 2

    def unfit(self, header: Header) -> str | None:
        """See :class:`Enlarger`."""
        height, width = header.shape
        if self.fit:
            return None
        # Whether the pixels are turned is the decoder's to say; the sides are known.
        if self.network.size is not None and sorted(self.network.size) != sorted((height, width)):
            return self._other_size(header.shape)
        if height * width * self.times**2 > MOST_RESULT_PIXELS:
            return (
                f'is {height}×{width}, and {self.times} times as large it would have more than '
                f'{MOST_RESULT_PIXELS // 10**6} million pixels.'
            )
        return None

    def _other_size(self, size: Size) -> str:
        known = '×'.join(map(str, self.network.known_size()))
        wanted = f'--size says {known}' if self.network.size_given else f'{self.network.name} was trained with {known}'
        return (
            f'is {size[0]}×{size[1]} (height × width), {wanted}: give --fit to bring faces to that size, --photographs '
            f'to look for faces, or --size {size[0]} {size[1]} for faces of that size.'
        )

    def make(self, read: Mapping[Path, Image]) -> tuple[Made, Wrong]:
        """See :class:`Enlarger`; a size that the network does not take keeps no other from being enlarged."""
        made: Made = {}
        wrong: Wrong = {}
        by_size: dict[Size, dict[Path, Image]] = {}
        for source, image in read.items():
            face = self.network.fit(image) if self.fit else image
            height, width = face.shape[:2]
            if self.network.size not in (None, (height, width)):
                wrong[source] = f"'{shown(source)}' {self._other_size((height, width))}"
            else:
                by_size.setdefault((height, width), {})[source] = face
        for faces in by_size.values():
            try:
                enlarged = self._enlarged(list(faces.values()))
            except UserError as error:
                wrong |= dict.fromkeys(faces, str(error))
            else:
                made |= {source: Result(image, {}) for source, image in zip(faces, enlarged, strict=True)}
        return made, wrong

    def _enlarged(self, images: list[Image]) -> list[Image]:
        """Images of one size, enlarged."""
        height, width = images[0].shape[:2]
        at_once = self.network.size is not None or height * width <= MOST_AT_ONCE
        if at_once and self.times == self.network.scale:
            return self.network(images)
        whole = Background(self.network, option='')
        return [whole.enlarged(image, self.times) for image in images]


class PhotographFaces:
    """Faces are looked for, enlarged and put back; see :class:`Enlarger`.

    Raises:
        UserError: the detector, the parser or the network for the background cannot be opened, or it is not known
            how faces are cut out for the network.
    """

    together = 4

    def __init__(self, network: FaceNetwork, how: Photographs) -> None:
        network.known_size()
        self.network, self.how = network, how.of(network.gains)
        self.points = points_in_lr(network, how.like)
        self.background = Background.open(how.background, network)
        # A score below the detector's own lowers that; faces below a higher one are found, left alone and counted.
        name = how.detector or best_without_download(how.weights)
        opened = open_detector(name, how.weights, network.device, how.score)
        logger.info('Faces are looked for by %s.', name)
        self.parser = None if how.seam is None else open_parser(how.seam, how.seam_weights, network.device)
        # Faces that gain are as large as the network's LR: too small for most detectors before they are enlarged.
        self.detector = tiled(name, opened, photograph.power_of_two(network.scale))

    def pixels(self, header: Header) -> int:
        """See :class:`Enlarger`."""
        times = photograph.times(header.shape, self.network.scale, self.how.enlarge)
        return header.height * header.width * (1 + times**2)

    def unfit(self, header: Header) -> str | None:
        """See :class:`Enlarger`."""
        try:
            photograph.times(header.shape, self.network.scale, self.how.enlarge)
        except UserError as error:
            return str(error)
        return None

    def make(self, read: Mapping[Path, Image]) -> tuple[Made, Wrong]:
        """See :class:`Enlarger`."""
        found = self.detector.detect(list(read.values()))
        cuts = {source: self.cut(image, faces) for (source, image), faces in zip(read.items(), found, strict=True)}
        return self.pasted(read, cuts)

    def cut(self, image: Image, faces: Sequence[Detection]) -> list[FaceCrop]:
        """Faces of a picture, given the surest first, as the network's LR; the surest comes last, to lie above."""
        return photograph.cut(image, faces[::-1], self.network.known_size(), self.points, self.how)

    def times(self, image: Image) -> int:
        """How many times a picture is enlarged."""
        return photograph.times(image.shape, self.network.scale, self.how.enlarge)

    def pasted(
        self, read: Mapping[K, Image], cuts: Mapping[K, Sequence[FaceCrop]]
    ) -> tuple[dict[K, Result], dict[K, str]]:
        """Pictures enlarged with their faces restored, and why others are not.

        Args:
            read: uint8 (H, W, 3) each.
            cuts: of each picture the faces that :meth:`cut` gave.
        """
        chosen = {source: [face for face in each if face.lr is not None] for source, each in cuts.items()}
        made: dict[K, Result] = {}
        wrong: dict[K, str] = {}
        try:
            sr = iter(self.network([face.lr for each in chosen.values() for face in each if face.lr is not None]))
        except UserError as error:
            if len(read) == 1:
                return made, dict.fromkeys(read, str(error))
            # Each by itself: the faces of one keep none of the others from being done.
            for source, image in read.items():
                done, why = self.pasted({source: image}, {source: cuts[source]})
                made |= done
                wrong |= why
            return made, wrong
        for source, image in read.items():
            times = self.times(image)
            pairs = [(face.lr, next(sr)) for face in chosen[source] if face.lr is not None]
            try:
                result = self.background.enlarged(image, times)
            except UserError as error:
                return made, {each: str(error) for each in read if each not in made}
            photograph.put_back(result, times, chosen[source], [larger for _, larger in pairs], self.parser)
            about = {'enlarged': times, 'faces': [face.as_dict() for face in cuts[source]]}
            made[source] = Result(result, about, pairs)
        return made, {}


def points_in_lr(network: FaceNetwork, like: str | None) -> Floats:
    """Where a face's points shall lie in the network's LR: float32 (5, 2).

    Args:
        like: see :class:`Photographs`.

    Raises:
        UserError: the checkpoint does not say it, or the set that is named instead does not fit.
    """
    height, width = network.known_size()
    if like is None:
        if network.points is None:
            raise UserError(
                f'{network.name} does not say where the points of its training faces lay: give --like with a set whose '
                'faces are cut out as these were and have landmarks, or --like ffhq; or --aligned, if every picture is '
                'a face.'
            )
        return network.points
    if like == 'ffhq':
        if height != width:
            raise UserError(f"--like ffhq: FFHQ's faces are square, {network.name} takes {height}×{width}.")
        return ffhq_template(height).numpy()
    store = open_store(like)
    mean = store.mean_points()
    if mean is None:
        raise UserError(f'--like {like}: this set has no landmarks; add them by `fsr prepare landmarks {like}`.')
    sizes = np.unique(store.sizes(), axis=0)
    if len(sizes) != 1 or sizes[0, 0] * width != sizes[0, 1] * height:
        raise UserError(f'--like {like}: its faces must be of one size, {height}×{width} or a multiple of it.')
    return scale_back(mean, (int(sizes[0, 0]), int(sizes[0, 1])), (height, width))
