"""ISR-KD: incremental super-resolution from faces to cartoons by distillation. Importing it registers all."""

from fsr_plugins.methods.isrkd import archs, models

__all__ = ['archs', 'models']
