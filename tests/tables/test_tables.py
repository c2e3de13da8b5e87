"""Tables: kinds of columns, numbers and back, densities; the estimator by scikit-learn's rules."""

import functools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tfp_vae import InputError
from tfp_vae.tables import Column, Table, TableVAE

N = 120
RNG = np.random.default_rng(0)
Z = RNG.normal(size=N)
FRAME = pd.DataFrame(
    {
        "height": 170 + 10 * Z + 2 * RNG.normal(size=N),
        "income": np.exp(8 + Z),
        "kids": RNG.poisson(np.exp(0.5 * Z)),
        "city": np.where(Z > 0.5, "Rome", np.where(Z < -0.5, "Oslo", "Bern")),
        "ok": Z > 0,
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(Z * 100), unit="D"),
        "grade": pd.Categorical(np.where(Z > 0, "hi", "lo"), ["lo", "hi"], ordered=True),
    },
    index=np.arange(N) + 5,
)
HIDDEN = RNG.random(FRAME.shape) < 0.2
HIDDEN[HIDDEN.all(axis=1), 0] = False
HOLES = FRAME.astype({"kids": "Int64", "ok": "boolean"}).mask(HIDDEN)
SMALL = {"latent_size": 2, "widths": (16,), "epochs": 3, "num_samples": 20}


@functools.cache
def fitted():
    return TableVAE(**SMALL).fit(HOLES)


# -- columns -----------------------------------------------------------------------------------

KINDS = {
    "reals": ([1.5, -2.0, 0.1], "real"),
    "skewed above 0": (np.exp(np.linspace(-3, 4, 50)), "positive"),
    "above 0, but not skewed": (np.linspace(160.0, 190.5, 50), "real"),
    "one outlier": ([*np.linspace(160.0, 190.5, 50), 900.0], "real"),
    "whole numbers": ([3, 0, 7], "count"),
    "whole numbers with a hole": ([3, None, 7], "count"),
    "negative whole numbers": ([3, -1, 7], "real"),
    "0 and 1": ([0, 1, None], "boolean"),
    "booleans with a hole": ([True, None, False], "boolean"),
    "words": (["a", None, "b"], "category"),
    "words and numbers": (["a", 1, "b"], "category"),
    "dates": (pd.to_datetime(["2020-01-01", None, "2021-01-01"]), "date"),
    "ordered": (pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True), "ordinal"),
    "categories": (pd.Categorical(["b", "a"]), "category"),
    "Int64": (pd.array([1, None, 5], "Int64"), "count"),
    "a constant": ([2.5, 2.5, 2.5], "real"),
}


@pytest.mark.parametrize(("values", "kind"), KINDS.values(), ids=KINDS)
def test_kinds_are_found_and_values_come_back(values, kind):
    series = pd.Series(values, name="c")
    column = Column.of(series)
    assert column.kind == kind
    known = series.notna()
    numbers = column.encoded(series)
    np.testing.assert_array_equal(np.isnan(numbers), ~known)
    back = column.decoded(numbers[known], series.index[known])
    whole = series.dropna()
    if pd.api.types.is_float_dtype(whole.dtype):
        np.testing.assert_allclose(back, whole, rtol=1e-6)
    else:
        pd.testing.assert_series_equal(back, whole, check_index_type=False)


def test_a_kind_may_be_given():
    series = pd.Series([1, 2, 3, 2], name="rooms")
    assert Column.of(series, "category").values == (1, 2, 3)
    table = Table.of(pd.DataFrame({"rooms": series}), {"rooms": "real"})
    assert table.columns[0].kind == "real"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("height", lambda v: scipy.stats.norm(v.mean(), v.std())), ("income", None)],
    ids=["real", "positive"],
)
def test_the_slope_makes_a_density_of_the_tables_own_unit(name, expected):
    """A Normal of the numbers is a Normal, or a log-normal, of the values."""
    column, values = Column.of(FRAME[name]), FRAME[name]
    numbers = column.encoded(values)
    found = scipy.stats.norm.logpdf(numbers) + column.log_slope(values)
    if expected is None:
        logs = np.log(values)
        want = scipy.stats.lognorm(logs.std(ddof=0), scale=np.exp(logs.mean())).logpdf(values)
    else:
        want = scipy.stats.norm(values.mean(), values.std(ddof=0)).logpdf(values)
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_a_table_of_any_columns_comes_back():
    table = Table.of(FRAME)
    back = table.decoded(table.encoded(FRAME), FRAME.index)
    assert back.dtypes.to_dict() == FRAME.dtypes.to_dict()
    for name in ("kids", "city", "ok", "day", "grade"):
        pd.testing.assert_series_equal(back[name], FRAME[name])
    np.testing.assert_allclose(back["income"], FRAME["income"], rtol=1e-4)
    again = Table.from_config(table.to_config())
    np.testing.assert_array_equal(again.encoded(FRAME), table.encoded(FRAME))


def test_ten_thousand_categories_are_a_column():
    words = pd.DataFrame({"id": [f"w{i}" for i in range(10_000)], "x": np.arange(10_000) * 0.5})
    table = Table.of(words)
    assert table.categories == [10_000]
    assert table.encoded(words)[-1, 1] == 9999 or table.encoded(words).max() >= 9999


BAD = {
    "no rows": (lambda: pd.DataFrame({"a": []}), {}, "rows and columns"),
    "an unknown column": (lambda: pd.DataFrame({"a": [1.5, 2], "b": [None, None]}), {}, "'b'"),
    "an unknown row": (lambda: pd.DataFrame({"a": [1.5, None, 2]}), {}, "each row.*row 1"),
    "a name twice": (lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "different names"),
    "lists": (lambda: pd.DataFrame({"a": [[1], [2]]}), {}, "'a'.*list"),
    "infinite": (lambda: pd.DataFrame({"a": [1.5, np.inf]}), {}, "finite.*'a'"),
    "a wrong kind": (lambda: FRAME, {"kinds": {"city": "real"}}, "'city'.*'real'.*Rome|Oslo|Bern"),
    "no such kind": (lambda: FRAME, {"kinds": {"city": "word"}}, "kind of column 'city'"),
    "kind of no column": (lambda: FRAME, {"kinds": {"town": "real"}}, "town"),
    "not positive": (lambda: FRAME, {"kinds": {"kids": "positive"}}, "'kids'.*'positive'"),
    "a vector": (lambda: np.ones(3), {}, "rows and columns"),
    "no such recipe": (lambda: FRAME, {"recipe": "vea"}, "recipe"),
    "labels": (lambda: FRAME, {"recipe": "m2"}, "no labels"),
    "share": (lambda: FRAME, {"validation_share": 1.0}, "validation_share"),
    "unseen": (lambda: FRAME, {"unseen": "drop"}, "unseen"),
}


@pytest.mark.parametrize(("make", "options", "fragment"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_error(make, options, fragment):
    with pytest.raises(InputError, match=f"(?s){fragment}"):
        TableVAE(**{**SMALL, **options}).fit(make())


def test_what_is_new_after_fit():
    model, new = fitted(), FRAME.head(3).astype({"city": object})
    new.loc[6, "city"] = "Paris"
    with pytest.raises(InputError, match=r"city.*seen in fit.*Paris"):
        model.score_samples(new)
    model.unseen = "unknown"
    try:
        assert np.isfinite(model.score_samples(new)).all()
    finally:
        model.unseen = "error"
    with pytest.raises(InputError, match=r"none of \['height'\]"):
        model.score_samples(FRAME.drop(columns="height"))
    with pytest.raises(InputError, match="call fit first"):
        TableVAE().transform(FRAME)


# -- the estimator -----------------------------------------------------------------------------


def test_holes_are_filled_and_nothing_else_changes():
    found = fitted().impute(HOLES, num_draws=2)
    for frame in (found.table, found.low, found.high, *found.draws):
        assert frame.dtypes.to_dict() == HOLES.dtypes.to_dict()
        assert frame.index.equals(HOLES.index)
        assert not frame.isna().any(axis=None)
        kept = frame.mask(HIDDEN)
        pd.testing.assert_frame_equal(kept.astype(HOLES.dtypes), HOLES)
    assert (found.low["height"] <= found.high["height"]).all()
    assert not found.draws[0].equals(found.draws[1])


@pytest.mark.again
def test_a_dependence_is_learnt():
    model = TableVAE(latent_size=2, widths=(32,), epochs=60, batch_size=32, seed=1).fit(HOLES)
    found = model.impute(HOLES).table
    hidden = HIDDEN[:, 0]
    error = np.sqrt(np.mean((found["height"] - FRAME["height"])[hidden] ** 2))
    assert error < 0.7 * FRAME["height"].std()
    right = (found["city"] == FRAME["city"])[HIDDEN[:, 3]].mean()
    assert right > FRAME["city"].value_counts(normalize=True).max() + 0.1
    odd = FRAME.head(2).astype({"kids": "Int64", "ok": "boolean"})
    odd.loc[5, "height"] = 400.0
    assert model.anomaly_pvalues(odd)[0] == pytest.approx(1 / (1 + len(model.held_out_scores_)))
    assert model.column_scores(odd).loc[5].idxmax() == "height"


@pytest.mark.again
def test_scores_are_of_the_tables_own_unit():
    """With ten times the unit the density is a tenth."""
    first = HOLES[["height", "city"]][~HIDDEN[:, [0, 3]].all(axis=1)]
    second = first.assign(height=first["height"] * 10)
    scores = [TableVAE(**SMALL).fit(frame).score_samples(frame) for frame in (first, second)]
    want = np.where(first["height"].isna(), 0.0, np.log(10))
    np.testing.assert_allclose(scores[0] - scores[1], want, atol=1e-3)


def test_pvalues_of_rows_as_those_held_out_are_uniform():
    model = fitted()
    scores = np.sort(model.held_out_scores_)
    found = model.pvalues_of(scores)
    np.testing.assert_allclose(found, (2 + np.arange(len(scores))) / (1 + len(scores)))


def test_new_rows_have_the_columns_and_dtypes():
    model = fitted()
    new = model.sample(30, seed=1)
    assert new.dtypes.to_dict() == HOLES.dtypes.to_dict()
    assert len(new) == 30
    pd.testing.assert_frame_equal(new, model.sample(30, seed=1))
    assert not new.equals(model.sample(30, seed=2))
    assert (new["kids"] >= 0).all()


def test_it_is_an_estimator_of_scikit_learn():
    model = TableVAE(latent_size=3, kinds={"kids": "real"})
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(seed=4).seed == 4
    x = np.where(RNG.random((60, 3)) < 0.2, np.nan, RNG.normal(size=(60, 3)))
    x[np.isnan(x).all(axis=1)] = 0
    pipe = make_pipeline(FunctionTransformer(), TableVAE(**SMALL))
    done = pipe.fit_transform(x)
    assert isinstance(done, np.ndarray)
    np.testing.assert_allclose(done[~np.isnan(x)], x[~np.isnan(x)])
    assert np.isfinite(pipe.score(x))


def test_a_saved_model_says_the_same(tmp_path):
    model = fitted()
    model.save(tmp_path / "model")
    again = TableVAE.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(HOLES), model.score_samples(HOLES))
    pd.testing.assert_frame_equal(again.transform(HOLES), model.transform(HOLES))
    pd.testing.assert_frame_equal(again.sample(3), model.sample(3))
    with pytest.raises(InputError, match=r"TableVAE\.save"):
        TableVAE.load(tmp_path)


@pytest.mark.one
@pytest.mark.parametrize(
    "recipe",
    ["missing_miwae", "not_miwae", "iwae", "beta_vae", "vamp_prior_vae", "ladder_vae", "vq_vae"],
)
def test_any_recipe_will_do(recipe):
    model = TableVAE(recipe, **SMALL).fit(HOLES)
    assert not model.transform(HOLES).isna().any(axis=None)
    assert np.isfinite(model.score_samples(HOLES)).all()
    assert len(model.sample(3)) == 3
