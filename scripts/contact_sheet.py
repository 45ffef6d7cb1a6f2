"""Makes docs/portraits.png: a row of built-in faces for each domain, labelled.

python scripts/contact_sheet.py [--out docs/portraits.png] [--size 84] [--columns 8] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from messages import positive, says_what_is_wrong

from fsr_plugins.errors import UserError
from fsr_plugins.portraits import DOMAINS, IMAGES_PER_PERSON, render

#: Colours (RGB) of the parsing ids 0 to 18.
_LABELS = np.array(
    [
        [18, 18, 20],
        [238, 190, 160],
        [92, 60, 40],
        [92, 60, 40],
        [70, 150, 220],
        [70, 150, 220],
        [30, 30, 90],
        [220, 140, 110],
    ]
    + [[220, 140, 110], [250, 220, 60], [230, 165, 130], [120, 20, 40], [210, 60, 70], [230, 90, 100], [200, 160, 130]]
    + [[250, 220, 60], [60, 110, 90], [130, 90, 150], [90, 90, 90]],
    dtype=np.uint8,
)


def _row(images: list[np.ndarray], size: int, smooth: bool) -> np.ndarray:
    how = cv2.INTER_AREA if smooth else cv2.INTER_NEAREST
    return np.hstack([cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=how) for image in images])


def rows(size: int, columns: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Captions and pictures (size, columns * size, 3) uint8 RGB of the sheet."""
    people = range(0, columns * IMAGES_PER_PERSON, IMAGES_PER_PERSON)
    studio = render('studio', 'train', people, size, seed)
    more = render('studio', 'train', range(people.stop, 2 * people.stop, IMAGES_PER_PERSON), size, seed)
    one = render('studio', 'train', range(min(columns, IMAGES_PER_PERSON)), size, seed)
    out = [('studio: a person a picture', _row([face.image for face in studio], size, True))]
    out.append(('studio', _row([face.image for face in more], size, True)))
    out.append(('studio: one person', _row([face.image for face in one], size, True)))
    out.append(('parsing of the first row', _row([_LABELS[face.parsing] for face in studio], size, False)))
    for name, small in (('harsh', size), ('cartoon', size), ('real_lr', 16), ('real_lr_hidden', 64)):
        faces = render(name, 'train', people, small, seed)
        out.append((f'{name}: {DOMAINS[name].description}', _row([face.image for face in faces], size, small == size)))
    return out


def sheet(size: int, columns: int, seed: int) -> np.ndarray:
    """The whole sheet, (H, W, 3) uint8 RGB."""
    parts = []
    for caption, picture in rows(size, columns, seed):
        bar = np.full((18, picture.shape[1], 3), 255, np.uint8)
        cv2.putText(bar, caption, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        parts += [bar, picture]
    return np.vstack(parts)


@says_what_is_wrong
def main() -> None:
    """Writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('docs/portraits.png'))
    parser.add_argument('--size', type=positive, default=84)
    parser.add_argument('--columns', type=int, default=IMAGES_PER_PERSON, choices=range(2, IMAGES_PER_PERSON + 1))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    image = sheet(args.size, args.columns, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(args.out), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise UserError(f'{args.out} could not be written.')
    print(f'{args.out}: {image.shape[1]} x {image.shape[0]}, {args.out.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    sys.exit(main())
