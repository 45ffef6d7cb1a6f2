"""C-Face: hallucination of faces that keep their identity, by a compare face. Importing it registers all."""

from fsr_plugins.methods.cface import models

__all__ = ['models']
