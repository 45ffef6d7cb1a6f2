"""The table of costs: what every entry takes to run and to train."""

from __future__ import annotations

from fsr_plugins.bench.results import Json, Results
from fsr_plugins.bench.table import NONE, Cell, ReportTable, Row, counted, number


def costs(results: Results) -> ReportTable | None:
    """What every entry takes to run and to train; None where none runs here."""
    known = [about['cost'] for about in results['entries'].values() if about['cost'] is not None]
    if not known:
        return None
    batches = list(known[0]['speed'])
    columns = [('parameters', 'M'), ('MACs', 'G')]
    columns += [('images/s', f'batch {batch}') for batch in batches]
    columns += [('MiB', f'batch {batch}') for batch in batches]
    budget = results['budget']
    seen = '' if budget is None else budget['unit']
    columns += [('seen', seen), ('training', 'min'), ('with teachers', 'min')]
    rows = []
    for about in results['entries'].values():
        cost, training = about['cost'], about['training']
        if cost is None:
            continue
        cells = [
            Cell(number(cost['parameters'] / 1e6, 3)),
            Cell(NONE if cost['macs'] is None else number(cost['macs'] / 1e9, 3)),
            *(Cell(number(cost['speed'][batch]['images_per_second'], 1)) for batch in batches),
            *(Cell(number(cost['speed'][batch]['peak_bytes'] / 2**20, 1)) for batch in batches),
        ]
        if training is None or budget is None:
            cells += [Cell(NONE)] * 3
        else:
            minutes = [training['seconds'] / 60, training['seconds_all'] / 60]
            cells += [Cell(number(training[budget['unit']], 0)), *(Cell(number(value, 1)) for value in minutes)]
        rows.append(Row(about['title'], cells))
    return ReportTable('Cost', columns, rows, _cost_notes(results))


def _cost_notes(results: Results) -> list[str]:
    height, width = results['lr_size']
    notes = [
        f'MACs are multiply-adds by mmengine for one LR image of {width}×{height} (products inside operations that it '
        'does not know are not counted). Images a second: median pass after a warm-up. MiB: the most that tensors '
        'take at once, weights and input included'
        + ('.' if results['device'] != 'cpu' else '; what an operation needs inside is not seen on a CPU.'),
        f'Speed was measured on: {machine_in_words(results["machine"])}. Training counts the stages that train the '
        'network itself; with teachers, every stage it needs.',
    ]
    trainings = [about['training'] for about in results['entries'].values() if about['training'] is not None]
    machines = [machine_in_words(machine) for training in trainings for machine in training['machines']]
    notes += [f'Trained on: {machine}.' for machine in dict.fromkeys(machines)]
    notes += [
        f'{about["title"]}: MACs could not be counted ({cost["why_not"]}).'
        for about in results['entries'].values()
        if (cost := about['cost']) is not None and cost['macs'] is None and about['arch'] is not None
    ]
    others = [about['title'] for about in results['entries'].values() if about['cost'] is None]
    if others:
        notes.append(f'Without cost, as only their images are here: {", ".join(others)}.')
    return notes


def machine_in_words(machine: Json) -> str:
    """Processor or GPU, cores and memory."""
    cores, threads = counted(machine['cores'], 'core', 'cores'), counted(machine['torch_threads'], 'thread', 'threads')
    gpu = f'{machine["gpu"]}, ' if machine['gpu'] else ''
    return f'{gpu}{machine["cpu"]}, {cores}, {machine["memory"]}, {threads}'
