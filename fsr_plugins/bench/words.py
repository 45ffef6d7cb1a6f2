"""What a report says in sentences."""

from __future__ import annotations

import yaml

from fsr_plugins.bench.cost_table import machine_in_words
from fsr_plugins.bench.results import EntryResults, PeopleResults, Results
from fsr_plugins.bench.table import counted, number
from fsr_plugins.config.options import Block


def inline_yaml(value: object) -> str:
    """A plain value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix('...\n').strip()


def protocol_in_words(results: Results) -> str:
    """What was compared, in a sentence or two."""
    height, width = results['lr_size']
    scale, images = results['scale'], results['test']['images']
    people = counted(results['test']['people']['count'], 'person', 'people')
    # Of images that are there already nobody knows what LR they were made of.
    strangers = sum(about['kind'] == 'images' for about in results['entries'].values())
    given = '' if strangers else 'given the same LR and '
    text = (
        f'×{scale} from {width}×{height} to {scale * width}×{scale * height}: {len(results["entries"])} entries on the '
        f'same {images:,} test faces of {people}, {given}measured by the same code.'
    )
    budget = results['budget']
    if budget is not None:
        text += f' No network saw more than {budget["most"]:,} {budget["unit"]}, unless it is marked as unfair.'
    return text


def experimental_setup(results: Results) -> dict[str, str]:
    """What must be known before the table, briefly."""
    found = {'Degradation': inline_yaml(results['degradation']).strip('{}')}
    train = results['train']
    if train is not None and train['store'] is not None:
        found['Training faces'] = f'{train["images"]:,} of {_store(train["store"])}'
    found['Test faces'] = f'{results["test"]["images"]:,} of {_store(results["test"]["store"])}'
    found['Test people'] = people_in_words(results['test']['people'])
    if results['budget'] is not None:
        found['Budget'] = f'{results["budget"]["most"]:,} {results["budget"]["unit"]} a network'
    found['Measured on'] = machine_in_words(results['machine'])
    versions = results['versions']
    found['Versions'] = ', '.join(f'{name} {versions[name]}' for name in ('fsr_plugins', 'basicsr', 'torch'))
    return found


def people_in_words(people: PeopleResults) -> str:
    """How many people the test images are of, and who says so."""
    if people['source'] == 'identities':
        return f'{people["count"]:,}, by the identities of the store'
    alone = counted(people['alone'], 'image', 'images')
    told = f'; {alone} without such a name, each taken as a person of its own' if people['alone'] else ''
    return f'{people["count"]:,}, by the names of the images{told}'


def _store(block: Block) -> str:
    root = block['dataroot_gt']
    return root if isinstance(root, str) else ' + '.join(root)


def entries_in_words(results: Results) -> dict[str, list[str]]:
    """By title, what each entry is and where it comes from."""
    found = {}
    for about in results['entries'].values():
        lines = [about['note']] if about['note'] else []
        if about['unfair']:
            lines.append(f'Unfair, and admitted because: {about["unfair"]}')
            lines += [f'It differs: {difference}.' for difference in about['differs']]
        if about['kind'] == 'images':
            lines.append(f'Images by another program: {about["images"]}, SHA-256 {about["sha256"]}. Nothing ran here.')
        elif about['kind'] == 'bicubic_matched':
            lines.append(_matched_in_words(about))
        elif about['arch'] is None:
            lines.append('Bicubic enlargement as MATLAB does it; nothing is learned.')
        else:
            lines.append(f'Network: {inline_yaml(about["arch"])}')
            lines.append(f'Checkpoint: {about["checkpoint"]}, SHA-256 {about["sha256"]}{_weights_in_words(about)}')
        if len(about['seeds']) > 1:
            seeds = ', '.join(map(str, about['seeds']))
            lines.append(
                f'Trained once with each of the seeds {seeds}; cost, pictures and this checkpoint are of the first.'
            )
        if about['training'] is not None:
            lines.append(f'Trained by {about.get("option_file")}, with the suite laid over it:')
            for name, stage in about['training']['stages'].items():
                taught = 'trains or makes what the network is taught by'
                whose = 'trains the network' if stage['trains_network'] else taught
                lines.append(
                    f"stage '{name}': {stage['iterations']:,} iterations in {stage['seconds'] / 60:.1f} min, {whose}"
                )
        found[about['title']] = lines
    return found


def _weights_in_words(about: EntryResults) -> str:
    """Which weights of a checkpoint an entry chooses, if it does."""
    kinds = {'params': 'those as trained, not averaged', 'params_ema': 'the averaged ones'}
    chosen = about.get('param_key')
    return '' if chosen is None else f"; its weights are '{chosen}', {kinds[chosen]}"


def _matched_in_words(about: EntryResults) -> str:
    channels = zip('RGB', about['colours']['slope'], about['colours']['offset'], strict=True)
    said = ', '.join(f'{name} × {number(slope, 3)} {number(offset, 3, True)}' for name, slope, offset in channels)
    return (
        'Bicubic enlargement as MATLAB does it, then each channel with the mean and deviation of reduced HR, by the '
        f'statistics of training sets: {said}.'
    )


def how_in_words(results: Results) -> list[str]:
    """How the figures were made, so that they can be made again."""
    options = results['statistics']
    lines = [f'{name}: {about["convention"]}.' for name, about in results['metrics'].items() if not about['absent']]
    lines += [
        'Every network is loaded from its checkpoint alone, averaged weights where there are some and the entry '
        'chooses no others, and given the same '
        f'LR batches (SHA-256 of all LR images: {results["test"]["lr_sha256"]}). Its images are rounded to 8 bits '
        'before anything is measured.',
        f'Intervals: percentile bootstrap of the mean, {options["resamples"]:,} resamples of people, seed '
        f'{options["seed"]}, the same resamples for every entry. A person brings all images along; a pair counts by '
        'the product of the draws of its two people, which makes its interval wide rather than narrow. Percentiles '
        "are expanded as Student's t is. Intervals say how much the mean depends on which people are in the test set, "
        'not on the seed of the training: ± over seeds does, where an entry was trained more than once.',
        'Bold is the best figure of a column and underlined the second best, of fair entries and as printed; an '
        'overlap of intervals or a large p says that the order may be chance.',
        f'Test set: checksums {", ".join(results["test"]["checksums"])}.',
    ]
    if results['train'] is not None:
        lines.append(f'Training set: checksums {", ".join(results["train"]["checksums"])}.')
    lines.append(f'Suite {results["name"]}, SHA-256 of its content {results["suite_sha256"]}.')
    lines.append('Versions: ' + ', '.join(f'{name} {version}' for name, version in results['versions'].items()) + '.')
    return lines
