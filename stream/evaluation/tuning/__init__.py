"""Search for better model settings, judged on events that the search has not seen.

| file | decides |
|---|---|
| `tunable` | which settings can be tuned, and between which bounds |
| `search` | how settings are tried (with Optuna), and on which events they are tried and judged |
| `verdict` | when tuned settings are better than the default, and the settings file that says so |
"""
