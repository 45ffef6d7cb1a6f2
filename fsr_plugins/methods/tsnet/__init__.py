"""TSNet: teacher-student network for real-world face super-resolution. Importing it registers all."""

from fsr_plugins.methods.tsnet import archs, models

__all__ = ['archs', 'models']
