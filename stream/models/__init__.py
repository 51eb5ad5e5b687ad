"""What a model is made of, how it learns from events and how it makes a list.

A model is a set of flat tables (`layout`). `learner` writes them, one batch of events at a time; `model` reads them and
answers. Each source of recommendations is one file with its `learn` and its `score`; `candidates` unites what the
sources propose, and `ranker` orders it.
"""
