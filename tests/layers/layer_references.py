"""What layers ought to be, in float64, where scipy has no such distribution."""

from __future__ import annotations

import functools

import numpy as np
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats


class ContinuousBernoulli:
    """p^x (1 - p)^(1 - x) / its integral over [0, 1], all by quadrature."""

    def __init__(self, logits):
        self.logits = logits
        self.nodes, self.weights = np.polynomial.legendre.leggauss(60)
        self.nodes, self.weights = (self.nodes + 1) / 2, self.weights / 2

    def _integral(self, of):
        return (of(self.nodes) * np.exp(self.logits[..., None] * self.nodes) * self.weights).sum(-1)

    def logpdf(self, x):
        return self.logits * x - np.log(self._integral(lambda u: 1.0))

    def mean(self):
        return self._integral(lambda u: u) / self._integral(lambda u: 1.0)

    def std(self):
        square = self._integral(lambda u: u**2) / self._integral(lambda u: 1.0)
        return np.sqrt(square - self.mean() ** 2)


class Tabulated:
    """Integers from `low` on, by the table of their log-probabilities on the last axis."""

    def __init__(self, log_p, low=0):
        self.log_p, self.low = log_p, low
        self.values = low + np.arange(log_p.shape[-1])

    def logpdf(self, x):
        index = (x - self.low).astype(int)[..., None]
        return np.take_along_axis(self.log_p, index, axis=-1)[..., 0]

    def mean(self):
        return (np.exp(self.log_p) * self.values).sum(axis=-1)

    def std(self):
        distance = self.values - self.mean()[..., None]
        return np.sqrt((np.exp(self.log_p) * distance**2).sum(axis=-1))


def quantized_logistic_mixture(t, low, high, min_scale=1e-3):
    """The table of a mixture of logistics rounded to integers; t: `[..., 3 k]`."""
    logits, loc, scale = np.split(t.astype("float64")[..., None], 3, axis=-2)
    half = (high - low) / 2
    logistic = scipy.stats.logistic(
        (low + high) / 2 + half * loc, half * np.maximum(np.logaddexp(0, scale), min_scale)
    )
    values = np.arange(low, high + 1)
    below, above = np.r_[-np.inf, values[1:] - 0.5], np.r_[values[:-1] + 0.5, np.inf]
    # Each interval from the side whose tail is the smaller, where the difference keeps its digits.
    right = logistic.sf(below) - logistic.sf(above)
    left = logistic.cdf(above) - logistic.cdf(below)
    p = np.where(values > logistic.mean(), right, left)
    return Tabulated(np.log((scipy.special.softmax(logits, axis=-2) * p).sum(axis=-2)), low)


class ZeroInflated:
    """0 with probability pi, else a draw of `counts`."""

    def __init__(self, pi, counts):
        self.pi, self.counts = pi, counts

    def logpmf(self, x):
        return np.log(self.pi * (x == 0) + (1 - self.pi) * self.counts.pmf(x))

    def mean(self):
        return (1 - self.pi) * self.counts.mean()

    def std(self):
        square = (1 - self.pi) * (self.counts.var() + self.counts.mean() ** 2)
        return np.sqrt(square - self.mean() ** 2)


class PointMass:
    """All probability at one point."""

    def __init__(self, at):
        self.at = at

    def logpdf(self, x):
        return np.where(x == self.at, 0.0, -np.inf)

    def mean(self):
        return self.at

    def std(self):
        return np.zeros_like(self.at)


@functools.lru_cache(2)
def _noise(kind, shape):
    """The same at each call, so that differences of moments have little noise."""
    return getattr(np.random.default_rng(9), kind)(size=shape)


class ByDraws:
    """What has no moments in closed form: by many draws of numpy's."""

    def mean(self):
        return self._draws().mean(axis=0)

    def std(self):
        return self._draws().std(axis=0)


class Concrete(ByDraws):
    """softmax((logits + Gumbel noise) / temperature)."""

    def __init__(self, logits, temperature):
        self.logits, self.temperature = logits, temperature

    def logpdf(self, x):
        d, t = x.shape[-1], self.temperature
        log_p, log_x = scipy.special.log_softmax(self.logits, axis=-1), np.log(x)
        each = (log_p - (t + 1) * log_x).sum(axis=-1)
        total = scipy.special.logsumexp(log_p - t * log_x, axis=-1)
        return scipy.special.gammaln(d) + (d - 1) * np.log(t) + each - d * total

    def _draws(self):
        noise = _noise("gumbel", (200_000, *self.logits.shape))
        return scipy.special.softmax((self.logits + noise) / self.temperature, axis=-1)


class Concretes(ByDraws):
    """n of them, one after the other in one vector."""

    def __init__(self, logits, temperature, n):
        self.n = n
        self.each = Concrete(logits.reshape(len(logits), n, -1), temperature)

    def logpdf(self, x):
        return self.each.logpdf(x.reshape(len(x), self.n, -1)).sum(axis=-1)

    def _draws(self):
        draws = self.each._draws()
        return draws.reshape(*draws.shape[:2], -1)


class WrappedNormal(ByDraws):
    """On the hyperboloid: a Normal at its apex, carried to mu along the shortest way.

    Points `(x_0, x)` with `-x_0^2 + |x|^2 = -1`, of which the ball's are `x / (1 + x_0)`.
    """

    def __init__(self, mu, scale):
        self.mu, self.scale = mu, scale

    def _carried(self, v, back=False):
        """Along the way from the apex to mu, or back, of tangent vectors with a first entry."""
        square = (self.mu**2).sum(-1, keepdims=True)
        x = np.concatenate([1 + square, 2 * self.mu], -1) / (1 - square)
        apex = np.eye(x.shape[-1])[:1]
        start, end = (x, apex) if back else (apex, x)
        lorentz = lambda a, b: (a * b).sum(-1, keepdims=True) - 2 * a[..., :1] * b[..., :1]  # noqa: E731
        alpha = -lorentz(start, end)
        return v + lorentz(end - alpha * start, v) / (alpha + 1) * (start + end), x, lorentz

    def _draws(self):
        noise = self._tangents()
        v = np.concatenate([np.zeros_like(noise[..., :1]), noise], -1)
        u, x, _ = self._carried(v)
        size = np.linalg.norm(noise, axis=-1, keepdims=True)
        point = np.cosh(size) * x + np.sinh(size) * u / size
        return point[..., 1:] / (1 + point[..., :1])

    def _tangents(self):
        return self.scale * _noise("normal", (200_000, *self.mu.shape))

    def _log_tangent(self, v):
        return scipy.stats.norm(0, self.scale).logpdf(v).sum(-1)

    def logpdf(self, z):
        square, d = (z**2).sum(-1, keepdims=True), z.shape[-1]
        point = np.concatenate([1 + square, 2 * z], -1) / (1 - square)
        _, x, lorentz = self._carried(np.zeros(point.shape))
        cosine = -lorentz(x, point)
        far = np.arccosh(cosine)
        u = far / np.sinh(far) * (point - cosine * x)
        v = self._carried(u, back=True)[0][..., 1:]
        volume = (d - 1) * np.log(far / np.sinh(far))[..., 0] + d * np.log(2 / (1 - square))[..., 0]
        return self._log_tangent(v) + volume


class RiemannianNormal(WrappedNormal):
    """As the wrapped one, with lengths of tangents by a table of their distribution function."""

    def __init__(self, mu, scale):
        super().__init__(mu, scale)
        self.r = np.linspace(1e-9, 14 * scale.max() + 2, 20_001)
        log_sinh = self.r + np.log(-np.expm1(-2 * self.r) / 2)
        self.log_h = (mu.shape[-1] - 1) * log_sinh - (self.r / scale) ** 2 / 2

    def _tangents(self):
        noise = _noise("normal", (200_000, *self.mu.shape))
        u = _noise("random", (200_000, len(self.mu)))
        cdf = scipy.integrate.cumulative_simpson(np.exp(self.log_h), x=self.r, initial=0)
        lengths = [np.interp(u[:, i], row / row[-1], self.r) for i, row in enumerate(cdf)]
        return (
            noise / np.linalg.norm(noise, axis=-1, keepdims=True) * np.stack(lengths, 1)[..., None]
        )

    def _log_tangent(self, v):
        r, d = np.linalg.norm(v, axis=-1), v.shape[-1]
        total = scipy.integrate.simpson(np.exp(self.log_h), x=self.r)
        surface = np.log(2) + d / 2 * np.log(np.pi) - scipy.special.gammaln(d / 2)
        log_h = -((r / self.scale[:, 0]) ** 2) / 2 + (d - 1) * np.log(np.sinh(r) / r)
        return log_h - np.log(total) - surface


class Flow(ByDraws):
    """A diagonal Normal through `maps`, each of which has `forward` and `inverse`.

    Both give the value and `log |det f'|` at the point before f.
    """

    def __init__(self, t, d, maps):
        self.base = scipy.stats.norm(t[:, :d], np.logaddexp(0, t[:, d : 2 * d]))
        self.maps = maps

    def logpdf(self, z):
        total = 0.0
        for f in reversed(self.maps):
            z, log_det = f.inverse(z)
            total = total - log_det
        return total + self.base.logpdf(z).sum(axis=-1)

    def _draws(self):
        noise = _noise("normal", (100_000, *self.base.mean().shape))
        z = self.base.mean() + self.base.std() * noise
        for f in self.maps:
            z, _ = f.forward(z)
        return z


class Planar:
    """z + v tanh(w'z + b) by the formula of the paper, with softplus(t + log(e - 1)) - 1 for m."""

    def __init__(self, u, w, b):
        inner, square = (u * w).sum(axis=-1), (w * w).sum(axis=-1)
        m = np.logaddexp(0, inner + np.log(np.e - 1)) - 1
        self.v, self.w, self.b = u + ((m - inner) / square)[:, None] * w, w, b

    def forward(self, z):
        h = np.tanh((self.w * z).sum(axis=-1) + self.b)
        slope = 1 + (self.w * self.v).sum(axis=-1) * (1 - h**2)
        return z + self.v * h[..., None], np.log(slope)

    def inverse(self, y):
        c, target = (self.w * self.v).sum(axis=-1), (self.w * y).sum(axis=-1)
        roots = [
            scipy.optimize.brentq(
                lambda a, c, b, s: a + c * np.tanh(a + b) - s, s - 9 - abs(c), s + 9 + abs(c),
                args=(c, b, s), xtol=1e-14,
            )
            for c, b, s in zip(c, self.b, target, strict=True)
        ]  # fmt: skip
        z = y - self.v * np.tanh(np.array(roots) + self.b)[:, None]
        return z, self.forward(z)[1]


def planar_flow(t, d, k):
    """The flow of `[n, 2 d + k (2 d + 1)]` parameters."""
    t = t.astype("float64")
    each = np.split(t[:, 2 * d :], k, axis=-1)
    return Flow(t, d, [Planar(own[:, :d], own[:, d : 2 * d], own[:, -1]) for own in each])


class InverseAutoregressive:
    """s z + (1 - s) m on the weights of a network of tanh units."""

    def __init__(self, network, context):
        self.network, self.context = network, context

    def _gates(self, z):
        x, n = z, self.network
        for i, (kernel, bias) in enumerate(zip(n.kernels, n.biases, strict=True)):
            y = x @ (kernel.numpy() * n.masks[i]) + bias.numpy()
            y = y + self.context @ n.conditional_kernels[i].numpy()
            x = np.tanh(y) if i + 1 < len(n.kernels) else y
        return x[..., ::2], scipy.special.expit(x[..., 1::2] + 2)

    def forward(self, z):
        m, s = self._gates(z)
        return s * z + (1 - s) * m, np.log(s).sum(axis=-1)

    def inverse(self, y):
        z = np.zeros_like(y)
        order = range(y.shape[-1])
        for i in order if self.network.input_order == "left-to-right" else reversed(order):
            m, s = self._gates(z)
            z[..., i] = ((y - (1 - s) * m) / s)[..., i]
        return z, self.forward(z)[1]


def inverse_autoregressive_flow(t, d, networks):
    """The flow of `[n, 2 d + c]` parameters on these networks."""
    t = t.astype("float64")
    return Flow(t, d, [InverseAutoregressive(each, t[:, 2 * d :]) for each in networks])


class AroundDirection:
    """On the sphere around a direction: moments from those of the cosine to it."""

    def __init__(self, t):
        t = t.astype("float64")
        self.mu = t[:, :-1] / np.linalg.norm(t[:, :-1], axis=-1, keepdims=True)
        self.kappa = np.logaddexp(0, t[:, -1]) + 1
        self.d = self.mu.shape[-1]

    def mean(self):
        return self.cosine()[0][:, None] * self.mu

    def std(self):
        first, second = (moment[:, None] for moment in self.cosine())
        sideways = (1 - second) / (self.d - 1)
        return np.sqrt((second - first**2) * self.mu**2 + sideways * (1 - self.mu**2))


class VonMisesFisher(AroundDirection):
    """C exp(kappa mu'x)."""

    def logpdf(self, x):
        each = zip(x.astype("float64"), self.mu, self.kappa, strict=True)
        return np.array([scipy.stats.vonmises_fisher(mu, k).logpdf(v) for v, mu, k in each])

    def cosine(self):
        bessel = scipy.special.ive
        ratio = bessel(self.d / 2, self.kappa) / bessel(self.d / 2 - 1, self.kappa)
        return ratio, 1 - (self.d - 1) * ratio / self.kappa


class PowerSpherical(AroundDirection):
    """C (1 + mu'x)^kappa: (1 + cosine) / 2 is Beta distributed."""

    def _beta(self):
        return scipy.stats.beta((self.d - 1) / 2 + self.kappa, (self.d - 1) / 2)

    def logpdf(self, x):
        # The density of the cosine, over the area of the sphere of d - 1 dimensions at its height.
        cosine = (x * self.mu).sum(axis=-1)
        circle = np.log(2) + (self.d - 1) / 2 * np.log(np.pi)
        circle -= scipy.special.gammaln((self.d - 1) / 2)
        sine = (self.d - 3) / 2 * np.log1p(-(cosine**2))
        return self._beta().logpdf((1 + cosine) / 2) - np.log(2) - circle - sine

    def cosine(self):
        mean = 2 * self._beta().mean() - 1
        return mean, 4 * self._beta().var() + mean**2
