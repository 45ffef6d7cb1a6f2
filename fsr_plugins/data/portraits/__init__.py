"""The built-in faces ("portraits"): drawn, labelled, reproducible; no download.

>>> face = render('studio', 'train', [0], size=128, seed=0)[0]
>>> face.image.shape, face.landmarks.shape, face.parsing.shape
((128, 128, 3), (5, 2), (128, 128))
"""

from fsr_plugins.data.portraits.domains import (
    DOMAINS,
    IMAGES_PER_PERSON,
    SPLITS,
    Domain,
    Face,
    find_domain,
    iterate,
    render,
)

#: To be raised whenever a pixel or label changes: faces drawn by another version are drawn anew.
RENDERER_VERSION = 3

__all__ = [
    'DOMAINS',
    'IMAGES_PER_PERSON',
    'RENDERER_VERSION',
    'SPLITS',
    'Domain',
    'Face',
    'find_domain',
    'iterate',
    'render',
]
