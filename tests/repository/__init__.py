"""The repository's own words: README, guarantees, recipes, map and habits are true."""
