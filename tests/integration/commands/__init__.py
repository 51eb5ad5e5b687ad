"""Commands and guides, typed on real servers."""
