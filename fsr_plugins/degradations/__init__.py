"""How low-resolution images are made: blocks that degrade a batch on its device, each image by its own seed."""

from fsr_plugins.degradations import bicubic, jpeg, real_world  # noqa: F401  importing registers
