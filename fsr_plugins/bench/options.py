"""What a suite file may say: one definition that checks, gives the defaults and explains."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fsr_plugins.config.options import Block, StrictOptions
from fsr_plugins.data.options import Keys, Roots
from fsr_plugins.errors import misfit

#: The entries that enlarge without a network; the second sets colours right by statistics of the training set.
BICUBIC: Literal['bicubic'] = 'bicubic'
MATCHED: Literal['bicubic_matched'] = 'bicubic_matched'
#: What stands beside the entries' folders in that of a suite.
FOLDERS = ('cache', 'figures', 'oneshot')


class TrainStore(StrictOptions):
    """``train``: the HR faces, and if need be the LR, that every entry learns from."""

    dataroot_gt: Roots
    dataroot_lq: Roots | None = None
    keys: Keys | None = None
    exclude_keys: Keys | None = None
    max_images: int | None = Field(None, ge=1)
    subset_seed: int | None = None


class Budget(StrictOptions):
    """``budget``: how much the result network of an entry may have seen, all its stages together."""

    iterations: int | None = Field(None, ge=1, description='batches')
    images: int | None = Field(None, ge=1, description='batches times their size')

    @model_validator(mode='after')
    def _one(self) -> Budget:
        if (self.iterations is None) == (self.images is None):
            raise misfit("a budget is counted either in 'iterations' or in 'images': give one of them")
        return self

    @property
    def unit(self) -> Literal['iterations', 'images']:
        """What is counted."""
        return 'iterations' if self.iterations is not None else 'images'

    @property
    def most(self) -> int:
        """How many of them."""
        return self.iterations or self.images or 0


class SuiteEntry(StrictOptions):
    """One of ``entries``: bicubic, an experiment of this toolkit, one of its checkpoints, an ablation, or images."""

    type: Literal['bicubic', 'bicubic_matched'] | None = None
    lq: str | None = Field(
        None, description='LR faces that bicubic_matched takes colours of; none: of the training set'
    )
    opt: str | None = Field(None, description='an option file; it is trained if it is not yet')
    of: str | None = Field(None, description='another entry: this is its experiment with the keys of set changed')
    set: Block = Field({}, description='laid over the option file, as by a file that inherits it')
    seeds: list[int] = Field([], description='trained once with each; none: once, with the manual_seed of the suite')
    stage: str | None = Field(None, description='whose network it is; none: the last')
    net: str | None = Field(None, description='which network of the stage, e.g. net_s; none: its result')
    checkpoint: str | None = Field(
        None,
        description='a file that this toolkit wrote or whose network spandrel knows, or the name of a bundled network',
    )
    param_key: Literal['params', 'params_ema'] | None = Field(None, description='none: averaged weights if there are')
    images: str | None = Field(None, description='a folder with an image of every test face, by any program')
    template: str | None = Field(None, description="name of an image from its HR's: {}_x8; none: the same")
    title: str | None = Field(None, description='what it is called in the report; none: its name')
    note: str | None = Field(None, description='what a reader should know of it')
    unfair: str | None = Field(None, description='reason to admit other training data or another budget')

    @model_validator(mode='after')
    def _one_kind(self) -> SuiteEntry:
        kinds = [kind for kind in ('type', 'opt', 'checkpoint', 'of', 'images') if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise misfit(
                'an entry is one of {type: bicubic}, {type: bicubic_matched}, {opt: FILE}, {checkpoint: FILE}, '
                '{of: ENTRY, set: …} and {images: FOLDER, unfair: …}'
            )
        if self.lq is not None and self.type != MATCHED:
            raise misfit("'lq' goes with 'type: bicubic_matched', which this entry is not")
        if self.template is not None and self.images is None:
            raise misfit("'template' goes with 'images', which this entry does not have")
        if self.param_key is not None and kinds[0] in ('type', 'images'):
            raise misfit(f"'param_key' chooses among weights, and an entry of '{kinds[0]}' has none")
        if self.of is not None and not self.set:
            raise misfit("'of' needs 'set': an ablation changes something")
        if self.of is not None and (self.stage or self.net or self.seeds):
            raise misfit("'stage', 'net' and 'seeds' are those of the entry that 'of' names: leave them out")
        if self.opt is None and self.of is None and (self.set or self.stage or self.net or self.seeds):
            raise misfit("'set', 'stage', 'net' and 'seeds' go with 'opt', which this entry does not have")
        if len(set(self.seeds)) < len(self.seeds) or any(seed < 0 for seed in self.seeds):
            raise misfit(f"'seeds' are {self.seeds}: each once, and none below 0")
        return self


class Curves(StrictOptions):
    """``curves``: what is measured while entries are trained, for the picture of it; nothing is chosen by it."""

    val_freq: int = Field(ge=1, description='iterations between two measurements')
    number: int = Field(32, ge=1, description='of the first images')
    set: Block | None = Field(None, description='the set, such as one of dev people; none: that of the test')
    metrics: dict[str, Block] = Field({'psnr': {'type': 'PSNR'}}, min_length=1)


class Cost(StrictOptions):
    """``cost``: how speed is measured."""

    batches: list[Annotated[int, Field(ge=1)]] = Field([1, 32], min_length=1)
    repeats: int = Field(5, ge=1, description='more where these take a moment only')
    seconds: float = Field(20.0, gt=0, description='after which no further repeat is begun, of one batch size')


class Statistics(StrictOptions):
    """``statistics``: of the intervals and of the tests against the reference."""

    seed: int = Field(0, ge=0)
    resamples: int = Field(10_000, ge=100)
    confidence: float = Field(0.95, gt=0, lt=1)


class Pictures(StrictOptions):
    """``pictures``: how many faces are shown."""

    faces: int = Field(6, ge=1, description='evenly spread over the test set, the same for all')
    worst: int = Field(4, ge=0, description='of each entry')
    details: int = Field(3, ge=0, description='faces of which eyes and mouth are enlarged')


class PaperRow(StrictOptions):
    """A row of a paper's table."""

    figures: dict[str, float | str] = Field(
        min_length=1,
        description='as printed (in quotes where a last zero counts), by name; of metrics, theirs',
    )
    entry: str | None = Field(None, description='the entry that it should be read beside')


class Paper(StrictOptions):
    """One of ``papers``: a table as it was published. None of it is measured here."""

    table: str = Field(description='which table of which paper')
    protocol: str = Field(description='data, scale, colours, recogniser: how its figures were taken')
    differs: str = Field(description='in what the suite does otherwise')
    rows: dict[str, Block] = Field(min_length=1)


class OneShot(StrictOptions):
    """``oneshot``: an experiment that is trained and then measured by ``fsr oneshot``'s repeats."""

    opt: str
    set: Block = {}


class SuiteOptions(StrictOptions):
    """The top level of a suite file. What the blocks hold is checked by the classes above, each for itself."""

    name: str
    title: str | None = None
    note: str | None = Field(None, description='what a reader should know before the table')
    scale: int = Field(gt=0)
    num_gpu: Literal['auto'] | int = 'auto'
    manual_seed: int = Field(0, ge=0, description='of every training')
    plugins: list[str] = []
    degradation: Block
    train: Block | None = None
    test: Block
    budget: Block | None = None
    metrics: dict[str, Block] = Field(min_length=1)
    entries: dict[str, Block] = Field(min_length=1)
    reference: str | None = Field(None, description='the entry that all others are tested against')
    quality: str | None = Field(None, description='the metric that is drawn against cost; none: the first')
    curves: Block | None = None
    cost: Block = {}
    statistics: Block = {}
    pictures: Block = {}
    papers: dict[str, Block] = {}
    oneshot: Block | None = None

    @field_validator('name')
    @classmethod
    def _plain(cls, name: str) -> str:
        return plain_name(name)

    @field_validator('entries')
    @classmethod
    def _plain_entries(cls, entries: Block) -> Block:
        for name in entries:
            if plain_name(name) in FOLDERS:
                raise ValueError(f"without the name '{name}', which is that of a folder of the suite's own")
        return entries


def plain_name(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: no folder can be called so.
    """
    if not re.fullmatch(r'\w[\w.+-]*', name):
        raise ValueError(f"named by letters, digits, '.', '_', '+' and '-', which '{name}' is not")
    return name
