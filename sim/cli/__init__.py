"""The ``reskill`` command: one file per subcommand."""

import os

# For small matrices a second math thread is slower. Set here, before numpy is imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
