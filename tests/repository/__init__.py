"""What the repository says of itself is true: its README, guarantees, recipes, map and habits."""
