"""What ``results.json`` holds, block by block, and what it is made of."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from fsr_plugins.config.options import Block

#: An object of JSON whose content this room does not look into, or not by name.
Json = dict[str, Any]
#: What a value belongs to: a test image, or a pair of a verification protocol.
Unit = Literal['images', 'pairs']


class Measured(TypedDict):
    """What was measured of one network; None stands for a value that is not finite."""

    figures: dict[str, float | None]
    keys: list[str]  #: of the test images
    images: dict[str, list[float | None]]  #: by metric, a value an image
    pairs: dict[str, list[float | None]]  #: by metric, a value a pair
    pair_keys: dict[str, list[list[str]]]  #: by metric of ``pairs``: keys of the first and of the second images


class Figure(TypedDict):
    """A metric's figure of one entry.

    It has no interval where images and pairs have no values of their own, or where all are one person's.
    """

    mean: float | None
    low: float | None
    high: float | None
    unit: Unit | None
    n: int | None
    people: int | None  #: whose finite values these are
    left_out: int  #: of ``n``, those without a finite value


class PairedDifference(TypedDict):
    """Mean of entry minus reference, its bootstrap interval, and the p-values of its test; None with one person."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    people: int


#: By entry and metric.
Figures = dict[str, dict[str, Figure]]
PairedDifferences = dict[str, dict[str, PairedDifference]]


class Complexity(TypedDict):
    """Parameters and multiply-adds; ``macs`` is None where they cannot be counted, and ``why_not`` says why."""

    parameters: int
    macs: int | None
    why_not: str | None


class Speed(TypedDict):
    """Of one batch size."""

    images_per_second: float
    peak_bytes: int
    repeats: int


class EntryCost(Complexity):
    """What an entry costs to run; ``speed`` is by batch size."""

    device: str
    speed: dict[str, Speed]


class StageTraining(TypedDict):
    """What one stage took."""

    iterations: int
    seconds: float
    trains_network: bool


class Training(TypedDict):
    """What training took: ``seconds`` of the network's own stages, ``seconds_all`` with its teachers'."""

    seconds: float
    seconds_all: float
    machines: list[Json]
    stages: dict[str, StageTraining]


class EntryTraining(Training):
    """With what the network has seen in its own stages."""

    iterations: int
    images: int


class _Source(TypedDict, total=False):
    option_file: str | None  #: of experiments and checkpoints alone
    colours: dict[str, list[float]]  #: of bicubic_matched alone: slope and offset of R, G and B
    images: str  #: of images that other programs made alone: their folder
    param_key: str  #: of entries alone that say which weights of the checkpoint are taken


class EntryDescription(_Source):
    """What an entry is."""

    title: str
    note: str | None
    unfair: str | None
    kind: Literal['bicubic', 'bicubic_matched', 'experiment', 'checkpoint', 'images']
    arch: Block | None
    checkpoint: str | None
    sha256: str | None  #: of the checkpoint, or of all images
    training: EntryTraining | None


class EntryVariant(TypedDict):
    """How often an entry is trained, and what it is an ablation of."""

    seeds: list[int]  #: of its trainings; none: the suite's
    of: str | None  #: the entry that it is an ablation of
    changes: list[str]  #: in what it differs from that one, a line a key


class EntryResults(EntryDescription, EntryVariant):
    """What an entry is and what was measured of it."""

    differs: list[str]
    figures: dict[str, Figure]
    more: dict[str, float | None]
    against_reference: dict[str, PairedDifference] | None
    spread: dict[str, float]  #: by metric, the standard deviation of its figure over the seeds, where there are several
    against_of: dict[str, PairedDifference] | None
    cost: EntryCost | None  #: None of images that are there already


class MetricResults(TypedDict):
    """How a metric is taken; ``absent`` says why it is not."""

    type: str
    convention: str
    better: Literal['higher', 'lower']
    absent: str | None


class SetResults(TypedDict):
    """Which images a set has."""

    images: int
    checksums: list[str]
    keys_sha256: str


class TrainResults(SetResults):
    """The training set, with its block."""

    store: Block | None


class PeopleResults(TypedDict):
    """Whose the test images are."""

    count: int
    source: Literal['identities', 'keys']  #: of the store, or the names of the images
    alone: int  #: images whose person cannot be told; each counts as a person
    index: list[int]  #: of each image in the order of the keys in use, from 0 to ``count`` - 1


class TestResults(SetResults):
    """The test set, with its people, its block and the digest of its LR images."""

    people: PeopleResults

    store: Block
    lr_sha256: str


class BudgetResults(TypedDict):
    """The most that a network may see."""

    unit: Literal['iterations', 'images']
    most: int


class StatisticsResults(TypedDict):
    """How intervals and tests were made."""

    seed: int
    resamples: int
    confidence: float


class PaperRowResults(TypedDict):
    """A row of a published table, and the entry that it stands beside."""

    figures: dict[str, float | str]
    entry: str | None


class PaperResults(TypedDict):
    """A published table."""

    table: str
    protocol: str
    differs: str
    rows: dict[str, PaperRowResults]


class HRResults(TypedDict):
    """Figures of HR itself."""

    figures: dict[str, Figure]


class Results(TypedDict):
    """The whole file."""

    name: str
    title: str
    note: str | None
    suite_sha256: str
    machine: Json
    versions: dict[str, str]
    device: str
    scale: int
    degradation: Block
    lr_size: list[int]
    train: TrainResults | None
    test: TestResults
    budget: BudgetResults | None
    metrics: dict[str, MetricResults]
    statistics: StatisticsResults
    reference: str | None
    quality: str
    entries: dict[str, EntryResults]
    HR: HRResults
    papers: dict[str, PaperResults]
    oneshot: Json | None  #: the content of ``oneshot.json``
