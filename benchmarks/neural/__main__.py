"""`python -m benchmarks.neural FILE`: compare neural models with the default configuration.

This file decides nothing but the start; the options are in `benchmarks.neural.cli`.
"""

from benchmarks.neural.cli import main

if __name__ == "__main__":
    main()
