"""One VAE trained by two processes: half of each batch in each, one set of weights.

This starts both on one machine; on several each gets the same list of workers and its own index.
"""

import json
import os
import socket
import subprocess
import sys


def start() -> None:
    """Runs this file once for each worker."""
    workers = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            workers.append(f"127.0.0.1:{free.getsockname()[1]}")
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": workers}, "task": task})
        environment = {**os.environ, "TF_CONFIG": config}
        processes.append(subprocess.Popen([sys.executable, __file__], env=environment))
    if any(process.wait() for process in processes):
        sys.exit("a worker failed")


def work() -> None:
    """What each worker does."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before all else of TensorFlow

    import keras

    from tfp_vae import VAE, data, layers, networks

    keras.utils.set_random_seed(0)  # the same first weights and the same order of the data
    digits = data.load("digits")
    with strategy.scope():
        vae = VAE(
            networks.encoder((8, 8, 1), 8, widths=(64,)),
            networks.decoder(8, layers.IndependentBernoulli((8, 8, 1)), widths=(64,)),
        )
        vae.compile(keras.optimizers.Adam(3e-3))
    vae.fit(data.binarized(digits.train), batch_size=64, epochs=30, verbose=0)
    loss = vae.evaluate(data.binarized(digits.test), verbose=0, return_dict=True)["loss"]
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    if index == 0:
        print(f"negative test ELBO: {loss:.2f} nats")
        vae.save("vae.keras")


if __name__ == "__main__":
    work() if "TF_CONFIG" in os.environ else start()
