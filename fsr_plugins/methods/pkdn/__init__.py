"""PKDN: prior knowledge distillation network for face super-resolution. Importing it registers all."""

from fsr_plugins.methods.pkdn import archs, models

__all__ = ['archs', 'models']
