"""What each picture is: a face, a photograph with faces in it, or neither is known and it is enlarged as a whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Literal

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image, Size
from fsr_plugins.images import Header
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.option_names import option_of
from fsr_plugins.restore.restorers import AlignedFaces, Enlarger, Made, PhotographFaces, Photographs, Wrong

logger = logging.getLogger(__name__)

#: ``auto``: as :meth:`ByPicture.kind` finds; ``face``: every picture is one; ``photograph``: faces are looked for.
Mode = Literal['auto', 'face', 'photograph']
#: A picture that is so many times as large as LR, or less, is a face.
_FACE = 1.5


class ByPicture:
    """Each picture is taken for what its size says; see :class:`~fsr_plugins.restore.restorers.Enlarger`.

    The detector is opened with the first photograph. If it cannot be, photographs have no result, and faces have.
    """

    together = 32

    def __init__(self, network: FaceNetwork, how: Photographs) -> None:
        self.network, self.how = network, how
        of_one_size = network.size is not None
        self.faces = AlignedFaces(network, of_one_size, None if of_one_size else how.enlarge)

    def kind(self, size: Size) -> Literal['face', 'photograph']:
        """``face``: no larger than 1.5 times LR; or any picture, where the network does not say how large LR is."""
        if self.network.size is None:
            return 'face'
        # Sides in ascending order: a header may not know yet whether the picture is turned.
        pairs = zip(sorted(size[:2]), sorted(self.network.size), strict=True)
        return 'face' if all(side <= _FACE * lr for side, lr in pairs) else 'photograph'

    @cached_property
    def photographs(self) -> PhotographFaces | UserError:
        """What restores photographs, or why nothing does."""
        try:
            return PhotographFaces(self.network, self.how)
        except UserError as error:
            return error

    def _of(self, size: Size) -> Enlarger | UserError:
        return self.faces if self.kind(size) == 'face' else self.photographs

    def pixels(self, header: Header) -> int:
        """See :class:`~fsr_plugins.restore.restorers.Enlarger`."""
        chosen = self._of(header.shape)
        return header.height * header.width if isinstance(chosen, UserError) else chosen.pixels(header)

    def unfit(self, header: Header) -> str | None:
        """See :class:`~fsr_plugins.restore.restorers.Enlarger`."""
        chosen = self._of(header.shape)
        return None if isinstance(chosen, UserError) else chosen.unfit(header)

    def make(self, read: Mapping[Path, Image]) -> tuple[Made, Wrong]:
        """See :class:`~fsr_plugins.restore.restorers.Enlarger`."""
        made: Made = {}
        wrong: Wrong = {}
        for kind in ('face', 'photograph'):
            some = {source: image for source, image in read.items() if self.kind(image.shape) == kind}
            chosen = self.faces if kind == 'face' else self.photographs if some else None
            if isinstance(chosen, UserError):
                wrong |= dict.fromkeys(some, str(chosen))
            elif chosen is not None and some:
                results, unfit = chosen.make(some)
                made |= results
                wrong |= unfit
        return {source: made[source] for source in read if source in made}, wrong


def enlarger(network: FaceNetwork, mode: Mode, how: Photographs, fit: bool) -> Enlarger:
    """What makes pictures larger in a mode.

    Args:
        how: for photographs.
        fit: for faces; see :class:`~fsr_plugins.restore.restorers.AlignedFaces`.

    Raises:
        UserError: the network does not fit the mode, an option of photographs has no effect, or the detector cannot
            be opened.
    """
    if mode == 'face':
        return AlignedFaces(network, fit)
    if mode == 'auto' and network.size is None:
        _refuse_options_of_faces(network, how)
    how.of(network.gains)  # whose limits have to fit each other
    return PhotographFaces(network, how) if mode == 'photograph' else ByPicture(network, how)


def _refuse_options_of_faces(network: FaceNetwork, how: Photographs) -> None:
    """Refuses what says how faces are looked for and restored, where none will be; ``enlarge`` has its effect.

    Raises:
        UserError: such an option is given.
    """
    for field in fields(how):
        if field.name != 'enlarge' and getattr(how, field.name) != field.default:
            raise UserError(
                f'{option_of(field.name)}: {network.name} does not say how large its LR is, so it enlarges pictures as '
                'a whole and looks for no faces: leave out the option, or give --size and --photographs.'
            )
