"""`tfp.layers` on `tf_keras`: `compile`, `fit` and tf.data, in the manner of TFP's VAE tutorial."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.peers import tfp_models as models
from benchmarks.peers import tfp_training as training
from benchmarks.peers.tfp_models import tf, tfd, tfk, tfp
from benchmarks.work import Work, since_start


def mlp(work: Work) -> None:
    """Trains the perceptron, an epoch at a time."""
    networks = models.perceptrons(work)
    training.train(models.vae(*networks), work)
    evaluated = models.negative_elbo(*networks, models.prior(work.latent_size))
    work.found["negative_elbo"] = training.evaluate(evaluated, training.test(work))


def conv(work: Work) -> None:
    """Trains the convolutional VAE of the tutorial."""
    networks = models.convolutional(work.latent_size)
    training.train(models.vae(*networks), work)
    # Of the same density, in the class for which the posterior's KL has a closed form.
    prior = tfd.MultivariateNormalDiag(tf.zeros(work.latent_size))
    evaluated = models.negative_elbo(*networks, prior)
    work.found["negative_elbo"] = training.evaluate(evaluated, training.test(work))


def iwae(work: Work) -> None:
    """Trains the perceptron on the importance-weighted bound."""
    model = models.IWAE(*models.perceptrons(work, regularized=False), work.num_samples)
    model.compile(tf.optimizers.Adam(1e-3))
    training.train(model, work)
    work.found["negative_bound"] = training.evaluate(
        tf.function(model.negative_bound), training.test(work), 100
    )


def likelihood(work: Work) -> None:
    """Estimates log p(x) after an epoch of training, image after image."""
    encoder, decoder = models.perceptrons(work)
    models.vae(encoder, decoder).fit(training.batches(work), verbose=0)
    prior = models.prior(work.latent_size)

    @tf.function(input_signature=[tf.TensorSpec([None, *models.SHAPE])])
    def run(x: tf.Tensor) -> tf.Tensor:
        posteriors = encoder(x)

        def one(each: tuple[tf.Tensor, ...]) -> tf.Tensor:
            x, mean, scale = each
            posterior = tfd.Independent(tfd.Normal(mean, scale), 1)
            z = posterior.sample(work.num_samples)
            log_weight = decoder(z).log_prob(x) + prior.log_prob(z) - posterior.log_prob(z)
            return tfp.math.reduce_logmeanexp(log_weight)

        each = (x, posteriors.mean(), posteriors.stddev())
        return tf.map_fn(one, each, fn_output_signature=tf.float32, parallel_iterations=2)

    x = training.test(work)
    run(x[:3])
    work.found["log_likelihood"] = float(work.repeat(lambda: run(x).numpy(), 1, first=True).mean())


def encode(work: Work) -> None:
    """The posterior means of all training images."""
    encoder, _ = models.perceptrons(work)
    means = tf.function(lambda x: encoder(x).mean())
    x = work.train[..., np.newaxis] / np.float32(255)
    work.repeat(lambda: means(x).numpy())


def sample(work: Work) -> None:
    """Means of p(x|z), z from the prior."""
    _, decoder = models.perceptrons(work)
    images = tf.function(lambda: decoder(models.prior(work.latent_size).sample(10_000)).mean())
    work.repeat(lambda: images().numpy())


def serve(work: Work) -> None:
    """Reconstructions by a SavedModel."""
    encoder, decoder = models.perceptrons(work)
    module = tf.Module()
    module.weights = encoder.variables + decoder.variables  # the layers do not save
    module.reconstruct = tf.function(
        lambda x: decoder(encoder(x).mean()).mean(),
        input_signature=[tf.TensorSpec([None, *models.SHAPE])],
    )
    x = training.test(work)[: work.batch_size]
    with TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        served = tf.saved_model.load(folder)
        work.repeat(lambda: served.reconstruct(x).numpy(), 300)


def start(work: Work) -> None:
    """One epoch from a cold process."""
    first = tfk.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_: work.found.setdefault("first_step", since_start())
    )
    models.vae(*models.perceptrons(work)).fit(training.batches(work), verbose=0, callbacks=[first])
    work.seconds.append(since_start())


def goal(work: Work) -> None:
    """Trains until the test ELBO is good."""
    steps = len(work.train) // work.batch_size * work.epochs
    warm_up = max(steps // 10, 1)
    rate = tfk.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=work.rate, warmup_steps=warm_up
    )
    x_test = training.test(work)
    networks = models.perceptrons(work, "swish")
    model = models.vae(*networks, rate)
    evaluated = models.negative_elbo(*networks, models.prior(work.latent_size))

    def check(epoch: int, logs: object) -> None:
        if training.evaluate(evaluated, x_test) < 95:
            work.seconds.append(since_start())
            work.found["epochs"] = epoch + 1
            model.stop_training = True

    callback = tfk.callbacks.LambdaCallback(on_epoch_end=check)
    model.fit(training.batches(work), epochs=work.epochs, verbose=0, callbacks=[callback])
