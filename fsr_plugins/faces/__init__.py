"""Faces in images: where they are, and how they are brought into a recogniser's position."""

from fsr_plugins.faces.alignment import TEMPLATE_112x96, TEMPLATE_112x112, align, alignable, similarity, template_for

__all__ = ['TEMPLATE_112x96', 'TEMPLATE_112x112', 'align', 'alignable', 'similarity', 'template_for']
