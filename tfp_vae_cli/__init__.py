"""The `tfp-vae` command's first step: what can be said or refused before TensorFlow is imported.

`import tfp_vae` registers its classes with Keras and so imports TensorFlow, which takes several
seconds. This package stands beside `tfp_vae`: Python imports a package before what is inside it.

Files import each other one way: `command` imports `tfp_vae.app.cli`, late and only for work;
`tfp_vae` imports single files of this package, of which none imports `command`.
"""

__version__ = "0.1.0"
