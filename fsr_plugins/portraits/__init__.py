"""The built-in faces ("portraits"): drawn, labelled, reproducible; no download.

>>> face = render('studio', 'train', [0], size=128, seed=0)[0]
>>> face.image.shape, face.landmarks.shape, face.parsing.shape
((128, 128, 3), (5, 2), (128, 128))
"""

from fsr_plugins.portraits.domains import (
    DOMAINS,
    IMAGES_PER_PERSON,
    RENDERER_VERSION,
    SPLITS,
    Domain,
    Portrait,
    find_domain,
    iterate,
    render,
)

__all__ = [
    'DOMAINS',
    'IMAGES_PER_PERSON',
    'RENDERER_VERSION',
    'SPLITS',
    'Domain',
    'Portrait',
    'find_domain',
    'iterate',
    'render',
]
