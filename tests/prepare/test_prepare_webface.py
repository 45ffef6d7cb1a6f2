"""``fsr prepare webface``, on a few small faces laid out as SCGAN's prepared sets."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.webface import prepare_webface
from fsr_plugins.stores.opening import open_store

SMALL, LARGE = picture(0, 16, 16), picture(1, 41, 36)


def files() -> dict[str, bytes]:
    return {
        'imgs_test/WebFace/1.png': png(SMALL),
        'imgs_test/WebFace/b.c.png': png(LARGE),
        'imgs_test/WebFace/3.png': png(SMALL[:15]),
        'imgs_test/WebFace/4.png': b'broken',
        'imgs_test/FFHQ/1.png': png(LARGE),
    }


@pytest.mark.parametrize('src', ['sets.zip', 'sets', 'sets/imgs_test/WebFace'])
def test_pictures_of_one_folder(tmp_path: Path, src: str) -> None:
    written(tmp_path / src.partition('/')[0], files())
    done = prepare_webface(tmp_path / src, tmp_path / 'out.lmdb')
    assert (done.images, done.skipped) == (2, {'corrupt': 1, 'too small': 1})
    store = open_store(tmp_path / 'out.lmdb')
    assert list(store.keys) == ['1', 'b_c'] and np.array_equal(store.image('1'), SMALL)
    assert np.abs(store.image('b_c') - reduced(LARGE[2:38], 16)).max() <= 0.51


def test_what_is_not_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not SCGAN's prepared test sets"):
        prepare_webface(written(tmp_path / 'x', {'imgs_test/FFHQ/1.png': png(SMALL)}), tmp_path / 'out')
    parser = argparse.ArgumentParser()
    PREPARERS['webface'].add_arguments(parser)
    src = str(written(tmp_path / 'sets.zip', files()))
    with pytest.raises(UserError, match='size 0'):
        PREPARERS['webface'].run(parser.parse_args([src, str(tmp_path / 'o'), '--size', '0']))
    assert PREPARERS['webface'].run(parser.parse_args([src, str(tmp_path / 'o'), '--size', '8'])).images == 3
