"""What comes next: three readings of how often one item followed another.

- `transition`: forward / (row sum + 2), from the last item alone;
- `transition_fast`: the same of the counts with a half-life of one day;
- `transitions`: Σ .6^k forward / row sum over the last five items.

Sequential rules as in Ludewig & Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018.
"""

from __future__ import annotations

ITEMS = 5
FADE = 0.6
PRIOR = 2.0
