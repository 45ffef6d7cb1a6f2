"""What an option file may say about a dataset: one definition that parses, checks and documents."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from fsr_plugins.data.edge_options import CannyOptions
from fsr_plugins.errors import MISFIT, UserError, misfit, shown
from fsr_plugins.registry import near
from fsr_plugins.stores.pixels import CacheMode
from fsr_plugins.threads import MOST_DECODERS
from fsr_plugins.values import NAME
from fsr_plugins.wording import wanted

#: A dataset's block.
Block = Mapping[str, object]
View = Literal['parsing', 'landmarks', 'identity', 'canny']


def _one_or_several(value: object) -> object:
    several = isinstance(value, list) and value and all(isinstance(entry, str) for entry in value)
    if isinstance(value, str) or several:
        return value
    raise ValueError('a folder, *.lmdb or portraits://…, or a list of at least one of them')


#: Where images are: one store, or a list of stores that are seen as one.
Roots = Annotated[str | list[str], BeforeValidator(_one_or_several)]


def _patterns_or_file(value: object) -> object:
    patterns = isinstance(value, list) and value and all(isinstance(entry, str) for entry in value)
    if patterns or (isinstance(value, str) and value.endswith('.txt')):
        return value
    raise ValueError("a list of keys or patterns, e.g. ['a_0001', '*_0002'], or the path of a *.txt with a key a line")


#: Which images: a list of patterns on their keys, or the path of a ``*.txt`` file with one key a line.
Keys = Annotated[str | list[str], BeforeValidator(_patterns_or_file)]


def _plain_name(value: str) -> str:
    if not re.fullmatch(NAME, value):
        raise ValueError("a name of letters, digits, '.', '_', '+' and '-', 100 at most: folders are called after it")
    return value


#: What a dataset is called.
DatasetName = Annotated[str, AfterValidator(_plain_name)]

#: Old names of keys and the present ones; the old ones work until version 0.3.
RENAMED = {
    'number': 'max_images', 'number_seed': 'subset_seed', 'without_keys': 'exclude_keys',
    'source_number': 'max_source_images', 'source_number_seed': 'source_subset_seed',
}  # fmt: skip

#: Keys of BasicSR's dataset blocks that are for its loader; accepted, so that its option files can be used.
_LOADER_DOC = "for BasicSR's loader"


class DatasetOptions(BaseModel):
    """What every dataset block may say."""

    model_config = ConfigDict(extra='forbid', strict=True)

    name: DatasetName = Field('dataset', description='name of the dataset in logs and results')
    type: str = Field('', description='the registered class')
    phase: str = Field('train', description='train, val or test, perhaps with a suffix as in val_2; set by the engine')
    scale: int | None = Field(None, ge=1, description='set by the engine')
    seed: int = Field(0, description='of order, crops and flips; set by the engine from manual_seed')
    io_backend: dict[str, object] | None = Field(None, description='{type: disk} or {type: lmdb}, as the paths are')
    batch_size_per_gpu: int | None = Field(None, ge=1, description='images a batch and process')
    num_worker_per_gpu: int | None = Field(None, ge=0, le=MOST_DECODERS, description='decoding threads a process')
    pin_memory: bool | None = Field(None, description='page-locked batches')
    dataset_enlarge_ratio: int | Literal['auto'] | None = Field(None, description=_LOADER_DOC)
    use_shuffle: bool | None = Field(None, description=_LOADER_DOC)
    prefetch_mode: Literal['cpu', 'cuda'] | None = Field(None, description=_LOADER_DOC)
    num_prefetch_queue: int | None = Field(None, ge=1, description=_LOADER_DOC)
    persistent_workers: bool | None = Field(None, description=_LOADER_DOC)

    @property
    def training(self) -> bool:
        """Whether the phase is training: only then is anything cropped or flipped."""
        return self.phase.partition('_')[0] == 'train'


class ImageDatasetOptions(DatasetOptions):
    """Keys of a dataset of images that are numbered."""

    keys: Keys | None = Field(None, description='only images whose keys match: patterns, or a *.txt with a key a line')
    exclude_keys: Keys | None = Field(None, description='none whose keys fit; as keys')
    max_images: int | None = Field(None, ge=1, description='use at most so many of the images that the keys leave')
    subset_seed: int | None = Field(None, description='choose them at random by this seed; none: take the first')
    draw_by: Literal['place', 'key'] = Field('place', description='what the random numbers of an image depend on')
    cache: CacheMode = Field('auto', description='where decoded pixels are kept; auto: those of training sets')
    recursive: bool = Field(False, description='take the images of subfolders too; keys are then paths')

    @model_validator(mode='before')
    @classmethod
    def _present_names(cls, values: object) -> object:
        """Blocks that come from Python and not from an option file may have old names too."""
        old = [key for key in RENAMED if isinstance(values, dict) and key in values and key not in cls.model_fields]
        if not isinstance(values, dict) or not old:
            return values
        for key in old:
            message = f"'{key}' of a dataset is called '{RENAMED[key]}' now; the old name works until version 0.3."
            warnings.warn(message, FutureWarning, stacklevel=2)
        return {RENAMED[key] if key in old else key: value for key, value in values.items()}

    @property
    def choice(self) -> dict[str, object]:
        """The keys of the block that say which images these are."""
        wanted = {'dataroot_gt', 'recursive', 'keys', 'exclude_keys', 'max_images', 'subset_seed'}
        return self.model_dump(include=wanted)


class HRDatasetOptions(ImageDatasetOptions):
    """Keys of a dataset of HR faces; crops and flips are for training only."""

    dataroot_gt: Roots = Field(description='HR: folder, *.lmdb or portraits://…; or a list of them, seen as one')
    views: list[View] = Field([], description='what comes with each HR face')
    canny: CannyOptions | None = Field(None, description='of the view canny; none: its defaults')
    gt_size: int | None = Field(None, ge=1, description='random square crop of the HR; none for whole images')
    gt_step: int | None = Field(
        None, ge=1, description='corners of these crops are multiples of it; none: of the scale, as stored LR needs'
    )
    use_hflip: bool = Field(False, description='mirror half of the images')
    use_rot: bool = Field(False, description='turn by quarters and mirror up-down, as BasicSR does')

    @model_validator(mode='after')
    def _only_in_training(self) -> HRDatasetOptions:
        given = [key for key in ('gt_size', 'use_hflip', 'use_rot') if getattr(self, key)]
        if given and not self.training:
            raise misfit(
                f"'{given[0]}' is for training; a dataset of phase '{self.phase}' is used as it is: remove the key"
            )
        if self.gt_size is not None and self.scale is not None and self.gt_size % self.scale:
            raise misfit(f"'gt_size' {self.gt_size} is not a multiple of 'scale', which is {self.scale}")
        if self.gt_step is not None and self.gt_size is None:
            raise misfit("'gt_step' says where crops lie, but 'gt_size' asks for none: add 'gt_size'")
        return self

    @model_validator(mode='after')
    def _edges_fit(self) -> HRDatasetOptions:
        if self.canny is not None and 'canny' not in self.views:
            raise misfit("'canny' says how to find edges, but 'views' does not ask for them: add 'canny' to 'views'")
        edges = self.edges
        if edges is not None and self.gt_size is not None and self.gt_size % edges.step:
            raise misfit(f"'gt_size' {self.gt_size} is not a multiple of {edges.step}, as 'canny.scales' need")
        return self

    @property
    def edges(self) -> CannyOptions | None:
        """What edge maps are asked for, if any."""
        return (self.canny or CannyOptions()) if 'canny' in self.views else None


class FaceDatasetOptions(HRDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.datasets.FaceDataset`."""

    dataroot_lq: Roots | None = Field(None, description='stored LR, paired by key; none: LR is made on the device')
    filename_tmpl: str = Field('{}', description="the LR's key from the HR's, e.g. '{}x4'")

    @model_validator(mode='after')
    def _stored_lr_cut_alike(self) -> FaceDatasetOptions:
        step, scale = self.gt_step, self.scale
        if self.dataroot_lq is not None and step is not None and scale is not None and step % scale:
            raise misfit(f"'gt_step' {step} is not a multiple of 'scale', which is {scale}, as stored LR needs")
        return self


class UnpairedFaceDatasetOptions(HRDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.datasets.UnpairedFaceDataset`."""

    dataroot_real_lq: str = Field(description='real LR of other faces: folder, *.lmdb or portraits://…')


class SourceTargetDatasetOptions(HRDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.datasets.SourceTargetDataset`; those without ``source`` are the target's."""

    dataroot_source: str | None = Field(None, description='HR of the source domain: folder, *.lmdb or portraits://…')
    max_source_images: int | None = Field(None, ge=0, description='use only so many source images; 0: no source')
    source_subset_seed: int | None = Field(None, description='choose them at random by this seed; none: take the first')

    @model_validator(mode='after')
    def _only_to_train(self) -> SourceTargetDatasetOptions:
        if self.dataroot_source is None and self.max_source_images != 0:
            raise misfit("'dataroot_source' is missing; give it, or 'max_source_images: 0' for the target alone")
        if not self.training:
            raise misfit('a mixture of source and target is for training; for validation take a FaceDataset of each')
        return self


class CompareOptions(BaseModel):
    """Keys of the block ``compare``: which other face of the person comes with each face."""

    model_config = ConfigDict(extra='forbid', strict=True)

    recogniser: dict[str, object] | None = Field(
        None, description='{type, path, adapt}: whose embeddings say how much alike two faces are'
    )
    align: Literal['none', 'landmarks'] = Field('none', description='landmarks: faces are aligned by their points')
    k: int = Field(3, ge=1, description='draw one of so many most similar faces anew each time')
    random: bool = Field(False, description='any other face of the person instead; needs no recogniser')

    @model_validator(mode='after')
    def _somebody_compares(self) -> CompareOptions:
        if self.recogniser is None and not self.random:
            raise misfit("nobody compares: give a 'recogniser', or 'random: true' for any other face of the person")
        return self


class CompareFaceDatasetOptions(HRDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.compare_dataset.CompareFaceDataset`."""

    compare: CompareOptions = Field(description='which other face of the person comes with each face')

    @model_validator(mode='after')
    def _only_to_train(self) -> CompareFaceDatasetOptions:
        if not self.training:
            raise misfit('compare faces are for training; for validation take a FaceDataset')
        return self


class RealFaceDatasetOptions(ImageDatasetOptions):
    """Keys of :class:`~fsr_plugins.data.real_dataset.RealFaceDataset`."""

    dataroot_lq: str = Field(description='real LR without HR: folder, *.lmdb or portraits://…')

    @model_validator(mode='after')
    def _never_in_training(self) -> RealFaceDatasetOptions:
        if self.training:
            raise misfit('a dataset without HR is for validation; to train with real LR take UnpairedFaceDataset')
        return self


_BLOCKS: dict[str, type[BaseModel]] = {'canny': CannyOptions, 'compare': CompareOptions}
OptionsT = TypeVar('OptionsT', bound=DatasetOptions)


def parse_options(schema: type[OptionsT], opt: Block) -> OptionsT:
    """Checks a dataset block.

    Raises:
        UserError: naming dataset, key and, for an unknown one, the nearest right one.
    """
    try:
        return schema.model_validate(dict(opt))
    except ValidationError as error:
        problems = [_problem(schema, entry) for entry in error.errors()]
        raise UserError(f"The dataset '{opt.get('name', opt.get('type', '?'))}': {'; '.join(problems)}") from error


def _problem(schema: type[DatasetOptions], entry: ErrorDetails) -> str:
    place = '.'.join(str(part) for part in entry['loc'])
    if entry['type'] == 'extra_forbidden':
        known = _BLOCKS.get(str(entry['loc'][0]), schema).model_fields if len(entry['loc']) > 1 else schema.model_fields
        hint = near(str(entry['loc'][-1]), known) or f' Known: {", ".join(known)}.'
        return f"unknown key '{place}'.{hint}"
    if entry['type'] == MISFIT or not place:
        return f"'{place}': {entry['msg']}." if place else f'{entry["msg"]}.'
    wrong = 'is missing' if entry['type'] == 'missing' else f'must be {wanted(entry)} (it is {shown(entry["input"])})'
    return f"'{place}' {wrong}."
