"""Names for mappings whose values are whatever YAML, JSON or a batch holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What experiments, stages and datasets may be called (a regular expression): folders and files are called after them.
NAME = r'\w[\w.+-]{0,99}'

#: A block with a key ``type`` and the arguments of the registered class; checked against its signature by preflight.
Block = dict[str, Any]
#: A block that is only read.
ReadBlock = Mapping[str, Any]
#: A stage's options, or a part of them, as BasicSR takes them.
Options = dict[str, Any]
#: Plain values that are written as JSON or in a checkpoint.
Record = dict[str, Any]
#: What a loader gives for one iteration: tensors, and lists of keys.
Batch = Mapping[str, Any]
#: What a training state holds: tensors and plain values.
State = dict[str, Any]
