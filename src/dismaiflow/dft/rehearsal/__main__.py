"""``python -m dismaiflow.dft.rehearsal``."""

from __future__ import annotations

from dismaiflow.dft.rehearsal.command import main

if __name__ == "__main__":  # the documentation imports all modules
    raise SystemExit(main())
