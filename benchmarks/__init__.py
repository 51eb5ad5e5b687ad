"""What the figures in the README come from. `corrente bench LEG --json` runs one of them."""
