"""Costs against counting by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsr_plugins.archs.linear import LinearFace
from fsr_plugins.bench.cost import complexity, speed, training
from fsr_plugins.bench.memory import PeakMemory
from fsr_plugins.bench.options import Cost

CPU = torch.device('cpu')


def test_multiply_adds_and_parameters_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 12, 1), nn.PixelShuffle(2)).eval()
    found = complexity(net, (6, 5))
    assert found['parameters'] == 3 * 8 * 9 + 8 + 8 + 8 * 12 + 12
    assert found['macs'] == 30 * (3 * 8 * 9 + 8 * 12)


def test_a_solved_network_has_a_size_and_a_cost() -> None:
    found = complexity(LinearFace(4, 2), (4, 4))
    inputs, outputs = 3 * 4 * 4, 3 * 8 * 8
    assert found['macs'] == inputs * inputs + inputs * outputs and found['why_not'] is None
    assert found['parameters'] == inputs + outputs + inputs * inputs + inputs * outputs


def test_a_network_that_cannot_be_analysed_says_why() -> None:
    class Odd(nn.Linear):
        def forward(self, lq: Tensor) -> Tensor:
            raise RuntimeError('not today')

    found = complexity(Odd(1, 1), (4, 4))
    assert found['macs'] is None and 'not today' in found['why_not']


def test_memory_is_what_lives_at_once() -> None:
    with torch.inference_mode(), PeakMemory(CPU) as memory:
        one = torch.zeros(1000)
        two = one + 1
        view = two.view(10, 100)
        view += 1
        del one, two
        three = view * 2
        del view, three
        torch.zeros(500)
    assert memory.peak == 2 * 4000


def test_speed_by_batch() -> None:
    net = nn.Conv2d(3, 3, 1, bias=False).eval()
    found = speed(net, (8, 8), Cost(batches=[1, 4], repeats=3), CPU)
    assert list(found) == ['1', '4'] and found['4']['repeats'] >= 3
    for batch, content in found.items():
        image = int(batch) * 3 * 64 * 4
        assert content['images_per_second'] > 0 and content['peak_bytes'] >= 2 * image + 9 * 4


def test_training_counts_teachers_apart() -> None:
    records = {
        'teacher': {'seconds': 10.0, 'iterations': 5, 'machine': {'cpu': 'a'}},
        'student': {'seconds': 4.0, 'iterations': 3, 'machine': {'cpu': 'a'}},
        'old': {'seconds': 1.0, 'iterations': 1},
    }
    found = training(records, ['student'])
    assert (found['seconds'], found['seconds_all'], found['machines']) == (4.0, 15.0, [{'cpu': 'a'}])
    assert found['stages']['teacher'] == {'iterations': 5, 'seconds': 10.0, 'trains_network': False}


def test_speed_is_of_a_function_too() -> None:
    assert speed(lambda lq: lq, (4, 4), Cost(batches=[2], repeats=1), CPU)['2']['images_per_second'] > 0
