"""A table with holes: fills them, ranks odd rows and draws new ones, beside scikit-learn's ways.

`python examples/tables.py` takes scikit-learn's wines: 178 rows, 13 numbers and a class, of which
one entry in five is hidden.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.impute import KNNImputer, SimpleImputer

from tfp_vae.tables import TableVAE


def main(epochs: int = 300) -> dict[str, float]:
    """Prints what comes of it, and returns the errors of each way to fill in the numbers."""
    wine = load_wine(as_frame=True)
    table = wine.frame.assign(target=wine.target_names[wine.target]).rename(
        columns={"target": "kind"}
    )
    hidden = np.random.default_rng(0).random(table.shape) < 0.2
    holes = table.mask(hidden)

    model = TableVAE("missing_miwae", latent_size=4, widths=(64,), epochs=epochs, batch_size=32)
    found = model.fit(holes).impute(holes)

    numbers = [name for name in table.columns if name != "kind"]
    loc, scale = holes[numbers].mean(), holes[numbers].std()
    standard = (holes[numbers] - loc) / scale
    filled = {
        "TableVAE": ((found.table[numbers] - loc) / scale).to_numpy(),
        "means": SimpleImputer().fit_transform(standard),
        "neighbours": KNNImputer().fit_transform(standard),
    }
    errors = {}
    for name, each in filled.items():
        off = (each - ((table[numbers] - loc) / scale).to_numpy())[hidden[:, :-1]]
        errors[name] = float(np.sqrt(np.mean(off**2)))
        print(f"{name:12} error of a hidden number: {errors[name]:.3f} standard deviations")
    right = (found.table["kind"] == table["kind"])[hidden[:, -1]].mean()
    inside = ((found.low <= table) & (table <= found.high))[numbers].to_numpy()[hidden[:, :-1]]
    print(
        f"kinds found: {right:.0%}; hidden numbers within their 90 % interval: {inside.mean():.0%}"
    )

    odd = pd.DataFrame(
        {"p_value": model.anomaly_pvalues(holes), "score": model.score_samples(holes)}
    )
    odd["oddest"] = model.column_scores(holes).idxmax(axis=1)
    print(odd.sort_values("score").head(3))
    print(model.sample(3)[["kind", "alcohol", "color_intensity"]])
    return errors


if __name__ == "__main__":
    main()
