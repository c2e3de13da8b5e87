import keras
import numpy as np
import pytest

from tfp_vae import schedules


def test_warm_up_is_a_ramp_that_stays():
    values = [float(schedules.warm_up(10, end=2.0)(step)) for step in (0, 5, 10, 50)]
    np.testing.assert_allclose(values, [0, 1, 2, 2])


@pytest.mark.parametrize("period", [1, 8, 8.0, 2.5])
@pytest.mark.parametrize("rise", [0.25, 1.0])
def test_cyclical_against_its_definition(period, rise):
    schedule = schedules.Cyclical(period, rise, end=3.0)
    for step in range(20):
        expected = 3.0 * min((step % period) / period / rise, 1.0)
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("period", "rise"), [(0, 0.5), (5, 0.0), (5, 1.5)])
def test_impossible_cycles_are_refused_in_words(period, rise):
    with pytest.raises(ValueError, match=r"(period >= 1|0 < rise <= 1).*Received"):
        schedules.Cyclical(period, rise)


@pytest.mark.parametrize("value", [0.5, schedules.warm_up(3), schedules.Cyclical(4, 0.5, 2.0)])
def test_configs_give_the_value_again(value):
    again = schedules.from_config(schedules.to_config(value))
    for step in range(6):
        assert float(schedules.value_at(again, step)) == float(schedules.value_at(value, step))


def test_a_variable_is_saved_by_its_value():
    assert schedules.to_config(keras.Variable(0.25)) == 0.25


def test_a_bare_function_works_and_says_that_it_cannot_be_saved():
    assert float(schedules.value_at(lambda step: step * 2.0, 3)) == 6.0
    with pytest.raises(ValueError, match="LearningRateSchedule"):
        schedules.to_config(lambda step: step)
