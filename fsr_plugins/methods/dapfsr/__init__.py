"""DAP-FSR: face super-resolution that adapts to a new domain by one exemplar. Importing it registers all."""

from fsr_plugins.methods.dapfsr import archs, decoder

__all__ = ['archs', 'decoder']
