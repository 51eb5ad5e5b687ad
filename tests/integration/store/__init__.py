"""State in Redis on real servers: losses, failovers, and settings that change."""
