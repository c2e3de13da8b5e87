"""The objective that the options name, in whole or in part."""

from __future__ import annotations

import sys

import keras
import pytest
from recipe_models import SHAPES

from tfp_vae import objectives, recipes, schedules
from tfp_vae.errors import InputError
from tfp_vae.objectives.from_options import Chosen

JARGON = ("Union", "v>0", "<class", "NoneType", "Literal", "type hint", "subclass")


def made(given, own=None, num_examples=1500):
    return Chosen(given)(own or objectives.ELBO(), num_examples)


@pytest.mark.parametrize(
    ("given", "own", "kind", "expected"),
    [
        ({"init_args": {"beta": 4}}, objectives.ELBO(free_bits=0.5), "ELBO",
         {"beta": 4.0, "free_bits": 0.5}),
        ({"init_args": {"estimator": "dreg"}}, objectives.IWAE(50), "IWAE",
         {"num_samples": 50, "estimator": "dreg"}),
        ({"class_path": "IWAE", "init_args": {"num_samples": 3}}, objectives.IWAE(50), "IWAE",
         {"num_samples": 3, "estimator": "plain"}),
        ({"class_path": "tfp_vae.objectives.MMD"}, None, "MMD", {"kernel": "imq"}),
        ({"class_path": "tfp_vae.objectives.penalties.MMD"}, None, "MMD", {"kernel": "imq"}),
        ({"class_path": "BetaTC"}, None, "BetaTC", {"num_examples": 1500, "beta": 6.0}),
        ({"init_args": {"gamma": 2}}, objectives.BetaTC(7, beta=3.0), "BetaTC",
         {"num_examples": 7, "beta": 3.0, "gamma": 2.0}),
        ({"class_path": "ELBO", "init_args": {"beta": "1e-3"}}, None, "ELBO", {"beta": 1e-3}),
    ],
)  # fmt: skip
def test_arguments_are_those_given_and_the_rest_as_it_was(given, own, kind, expected):
    found = made(given, own)
    assert type(found).__name__ == kind
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value)
    again = made(Chosen(given).config(), own)  # what config.yaml holds makes the same
    assert again.get_config() == found.get_config()
    assert Chosen(Chosen(given).config()).config() == Chosen(given).config()


def test_a_schedule_is_an_argument_with_arguments_of_its_own():
    cycle = {"class_path": "tfp_vae.schedules.Cyclical", "init_args": {"period": 20}}
    for given in ({"init_args": {"beta": cycle}}, {"init_args": {"capacity": [cycle, 5]}}):
        found = made(given)
        value = found.beta if "beta" in given["init_args"] else found.capacity[0]
        assert isinstance(value, schedules.Cyclical)
        assert value.period == 20
    theirs = {
        "class_path": "keras.optimizers.schedules.ExponentialDecay",
        "init_args": {"initial_learning_rate": 1.0, "decay_steps": 9, "decay_rate": 0.5},
    }
    found = made({"init_args": {"beta": theirs}}).beta
    assert isinstance(found, keras.optimizers.schedules.ExponentialDecay)


def test_a_config_has_the_public_path_of_an_objective():
    assert Chosen({"class_path": "IWAE"}).config()["class_path"] == "tfp_vae.objectives.IWAE"


@pytest.mark.parametrize("name", [n for n in recipes.RECIPES if n != "conditional_vae"])
@pytest.mark.one
def test_an_argument_of_a_recipes_own_objective_changes_nothing_else(name):
    def setting(objective=None):
        return recipes.Setting(
            SHAPES.get(name, (3,)), 40, latent_size=2, widths=(2,), objective=objective,
            num_classes=2,
        )  # fmt: skip

    own = recipes.build(name, setting()).objective
    config = own.get_config()  # a point mass has no KL to weigh
    skipped = {"num_examples", *(["beta"] if config.get("beta") == 0 else [])}
    numbers = {k: v for k, v in config.items() if isinstance(v, (int, float)) or k == "beta"}
    argument = next(key for key in numbers if key not in skipped)
    value = 7 if isinstance(config[argument], int) else 0.25
    found = recipes.build(name, setting(Chosen({"init_args": {argument: value}}))).objective
    assert type(found) is type(own)
    networks = {"critic", "network"}  # whose layers are named anew
    others = {key: value for key, value in found.get_config().items() if key not in networks}
    assert others == {key: config[key] for key in others} | {argument: value}
    assert set(found.get_config()) == set(config)


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        ({"class_path": "Foo"}, "Known objectives: CIWAE, DIP, ELBO"),
        ({"class_path": "no.such.Foo"}, "Known objectives"),
        ({"class_path": "keras.Model"}, "Known objectives"),
        ({"class_path": "Objective"}, "Known objectives"),
        ({"init_args": {"num_samples": 5}}, "ELBO takes --objective.beta, --objective.free_bits"),
        ({"class_path": "IWAE", "init_args": {"num_samples": "many"}}, "a whole number, such as 5"),
        ({"class_path": "IWAE", "init_args": {"num_samples": 2.5}}, "whole number"),
        ({"class_path": "IWAE", "init_args": {"num_samples": 0}}, "num_samples"),
        ({"class_path": "IWAE", "init_args": {"estimator": "best"}}, "estimator"),
        ({"class_path": "MMD", "init_args": {"kernel": "x"}}, "'rbf' or 'imq'"),
        ({"init_args": {"beta": "x"}}, "a number or a schedule, such as 4 or tfp_vae.schedules"),
        ({"init_args": {"beta": [1]}}, "--objective.beta to be a number or a schedule"),
        ({"init_args": {"capacity": "x"}}, "a list of one for each block"),
        ({"init_args": {"beta": {"class_path": "tfp_vae.schedules.Cyclical",
                                 "init_args": {"period": "x"}}}}, "Cyclical(period=x)"),
        ({"init_args": {"beta": {"class_path": "tfp_vae.schedules.Cyclical",
                                 "init_args": {"period": 0}}}}, "period >= 1"),
        ({"init_args": {"beta": {"class_path": "Nothing"}}}, "a number or a schedule"),
    ],
)  # fmt: skip
def test_what_an_objective_does_not_take_is_said_in_plain_words(given, fragment):
    with pytest.raises(InputError) as caught:
        made(given)
    assert fragment in str(caught.value)
    assert not any(word in str(caught.value) for word in JARGON)


@pytest.mark.parametrize("path", ["this.Zen", "antigravity.X", "idlelib.help.HelpParser"])
def test_a_file_has_no_module_imported(path, capsys):
    before = set(sys.modules)
    for given in ({"class_path": path}, {"init_args": {"beta": {"class_path": path}}}):
        with pytest.raises(InputError):
            made(given)
    assert path.rpartition(".")[0] not in set(sys.modules) - before
    assert not capsys.readouterr().out
