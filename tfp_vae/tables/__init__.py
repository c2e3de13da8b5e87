"""Tables of columns of different kinds, with holes: imputations, odd rows, new rows."""

from tfp_vae.tables.columns import KINDS, Column
from tfp_vae.tables.estimator import TableVAE
from tfp_vae.tables.table import Table

__all__ = ["KINDS", "Column", "Table", "TableVAE"]
