"""How good a model is, in nats, beside what its likelihood reaches without a latent variable."""

from tfp_vae.evaluation.baselines import Baseline, baseline
from tfp_vae.evaluation.estimates import evaluate
from tfp_vae.evaluation.measures import Measure, measure
from tfp_vae.evaluation.summary import report, table

__all__ = ["Baseline", "Measure", "baseline", "evaluate", "measure", "report", "table"]
