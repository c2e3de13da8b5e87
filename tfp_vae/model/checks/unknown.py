"""Checks that a model can take data with entries that are not known."""

from __future__ import annotations

from tfp_vae.distributions.unknown import why_not
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.objectives import Objective


def are_marginal(variables: Variables, objective: Objective, what: str) -> None:
    """Raises `InputError` unless `log p` of the known entries is what the model computes.

    The likelihoods have to have marginals in closed form, and x may be shown to posteriors and to
    the likelihoods of later variables, but not to what generates x.
    """
    reason = objective.no_likelihood or None
    observed = list(variables.likelihoods)
    features = variables.features
    made = set(observed)
    if features is not None and made & {tensor.name for tensor in features.tensors}:
        made |= set(features.network._outputs_struct)
    for name, prior in variables.priors.items():
        if set(prior.inputs) & made:
            reason = f"the prior of {name} takes what is observed"
    for number, (name, likelihood) in enumerate(variables.likelihoods.items()):
        if set(likelihood.inputs) & (made - set(observed[:number])):
            reason = f"the likelihood of {name} takes {name} itself, or a later variable"
        elif likelihood.outline is not None and why_not(likelihood.outline):
            reason = why_not(likelihood.outline)
    if reason:
        raise InputError(
            f"Expected finite numbers in {what}: with unknown entries there is no log p(x), since "
            f"{reason}.",
            "NaN",
        )
