"""TFP's objects as Keras holds, calls and saves them."""
