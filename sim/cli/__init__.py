"""The ``reskill`` command: one file for each verb."""

import os

# Small matrices: a second math thread costs more than it gives. To be set before numpy is imported, so here.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
