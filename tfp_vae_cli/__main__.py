"""`python -m tfp_vae_cli`: the command, where it is not installed as `tfp-vae`."""

import sys

from tfp_vae_cli.command import main

sys.exit(main())
