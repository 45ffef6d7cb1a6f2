"""Soft-edge distillation, an example of a method from outside of fsr_plugins. Importing it registers its classes."""

from fsr_softedge import model, parts

__all__ = ['model', 'parts']
