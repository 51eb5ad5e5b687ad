"""Events in, models learn, versions out.

`stream` owns the contracts of Corrente: what an event is (`stream.events`), what a model is made of
(`stream.state.tables`, `stream.models`), how one partition learns (`stream.shard.shard`) and how its states become versions
(`stream.versions`). It imports neither `serving` nor `simulators`.
"""
