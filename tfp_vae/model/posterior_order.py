"""The order in which posteriors are drawn from: each after the latent variables that it takes."""

from __future__ import annotations

from collections.abc import Mapping

from tfp_vae.errors import InputError
from tfp_vae.model.conditional import Conditional


def posterior_order(
    posteriors: Mapping[str, Conditional], priors: Mapping[str, Conditional]
) -> list[str]:
    """Returns the names of the latent variables, in ancestral order as far as posteriors allow it.

    Bottom-up posteriors, q(z1|x) and q(z2|z1) beside p(z1|z2), so come in the order z1, z2. A state
    that a network puts out is there once what this network takes is there.

    Raises:
      InputError: posteriors need each other, or one takes its own variable.
    """
    makers = {state: q for q in posteriors.values() for state in q.puts_out}
    makers |= {state: p for p in priors.values() for state in p.puts_out}

    def needed(one: Conditional, seen: frozenset[str] = frozenset()) -> set[str]:
        found = set(one.inputs) & set(posteriors)
        for state in set(one.inputs) & (set(makers) - seen):
            maker = makers[state]
            found |= needed(maker, seen | {state})
            if maker.is_posterior:
                found.add(maker.variable)
        return found

    needs = {name: needed(q) for name, q in posteriors.items()}
    order: list[str] = []
    while len(order) < len(needs):
        waiting = [name for name in needs if name not in order]
        ready = [name for name in waiting if needs[name] <= set(order)]
        if not ready:
            raise InputError(
                f"Expected the posterior of {waiting[0]} to take latent variables that come before "
                "it, and that do not depend on it.",
                ", ".join(sorted(needs[waiting[0]] - set(order))),
            )
        order.append(ready[0])
    return order
