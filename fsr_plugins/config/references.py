"""What one stage takes from another: ``stage:<stage>/<net or thing>`` in option files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from fsr_plugins.checkpoints import network_file
from fsr_plugins.config.problems import Problems
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import near, registered
from fsr_plugins.values import Options

PREFIX = 'stage:'


def resolve(
    opt: Options, folder: Path, stages: Mapping[str, Options], problems: Problems
) -> tuple[Options, tuple[str, ...]]:
    """Replaces every reference in a stage's options by the path it stands for.

    ``stage:a/net_g`` is ``<folder>/a/models/net_g_latest.pth``; ``stage:a/thing`` is ``<folder>/a/thing``.

    Args:
        opt: the stage's options.
        folder: the experiment's folder.
        stages: every stage's options by name, of which ``model_type`` says what networks it has.
        problems: takes references to stages or networks that do not exist.
    Returns:
        The options with paths, and the stages referred to, each once.
    """
    needs: dict[str, None] = {}

    def walk(value: object, keys: Keys) -> object:
        if isinstance(value, dict):
            return {key: walk(item, (*keys, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*keys, str(number))) for number, item in enumerate(value)]
        if not isinstance(value, str) or not value.startswith(PREFIX):
            return value
        stage, _, thing = value.removeprefix(PREFIX).partition('/')
        problem = _problem(stage, thing, stages)
        if problem:
            problems.add(keys, f'is {shown(value)}: {problem}')
            return value
        needs[stage] = None
        if thing.startswith('net_'):
            return str(network_file(folder / stage / 'models', thing))
        return str(folder / stage / thing)

    return {key: walk(value, (key,)) for key, value in opt.items()}, tuple(needs)


def _problem(stage: str, thing: str, stages: Mapping[str, Options]) -> str:
    if stage not in stages:
        return f'there is no stage {shown(stage)} (there are: {", ".join(stages)}).{near(stage, stages)}'
    if not thing:
        return f"write what to take from that stage, e.g. 'stage:{stage}/net_g'."
    if not thing.startswith('net_'):
        return ''
    model = stages[stage].get('model_type')
    cls = registered('models', model) if isinstance(model, str) else None
    networks: Collection[str] = getattr(cls, 'networks', ())
    if cls is not None and networks:
        networks = [*networks, *cls.composite_blocks(stages[stage])]
    if networks and thing not in networks:
        has = ', '.join(networks)
        return f"{model} of stage '{stage}' has no network '{thing}' (it has: {has}).{near(thing, networks)}"
    return ''


def order(needs: Mapping[str, Collection[str]], file: Path) -> list[str]:
    """The stages in an order in which each comes after those it needs; otherwise as they stand in the file.

    Raises:
        UserError: stages need each other in a circle, which is named.
    """
    done: list[str] = []

    def visit(stage: str, above: tuple[str, ...]) -> None:
        if stage in above:
            circle = ' -> '.join((*above[above.index(stage) :], stage))
            raise UserError(f"{file}: stages need each other in a circle: {circle}. Take one 'stage:' reference out.")
        if stage not in done:
            for needed in needs[stage]:
                visit(needed, (*above, stage))
            done.append(stage)

    for stage in needs:
        visit(stage, ())
    return done
