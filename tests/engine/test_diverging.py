"""A loss that leaps: said once, and not for what losses do in a good training."""

from __future__ import annotations

import logging

import pytest

from fsr_plugins.engine.diverging import Course


def said(course: list[dict[str, float]], caplog: pytest.LogCaptureFixture) -> list[str]:
    watch = Course('x')
    with caplog.at_level(logging.WARNING, 'fsr_plugins'):
        for number, losses in enumerate(course, 1):
            watch.see(50 * number, losses)
    return [record.getMessage() for record in caplog.records]


def test_a_leap_is_said_once_with_its_iteration(caplog: pytest.LogCaptureFixture) -> None:
    leap = [{'l_pix': 0.04}, {'l_pix': 0.03}, {'l_pix': 7248.0}, {'l_pix': 1e17}]
    (message,) = said(leap, caplog)
    assert message.startswith('x: at iteration 150 l_pix is 7.25e+03') and 'ever was (0.04)' in message
    assert 'clip_grad_norm' in message


@pytest.mark.parametrize(
    'course',
    [
        [{'l_g': 0.001}, {'l_g': 0.9}],  # adversarial
        [{'l_kd': 0.0}, {'l_kd': 5.0}],  # begins later
        [{'l_pix': 50.0}, {'l_pix': 0.001}, {'l_pix': 40.0}],
        [{'alpha': 1e-9}, {'alpha': 1.0}],  # no loss
        [{'l_g': -2.0}, {'l_g': 900.0}],
        [{'l_pix': 1.0}, {'l_pix': float('nan')}],  # what else stops
    ],
)
def test_an_ordinary_course_is_not(course: list[dict[str, float]], caplog: pytest.LogCaptureFixture) -> None:
    assert said(course, caplog) == []


def test_a_leap_after_a_nan_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert len(said([{'l_pix': 1.0}, {'l_pix': float('nan')}, {'l_pix': 2e3}], caplog)) == 1
