"""What comes from topics: odd records, other formats, documents, topics that are others than they were."""
