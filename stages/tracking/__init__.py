"""MLflow as a projection of what the pipeline writes to files: rebuilt at any time, and no training waits for it.

`record` reads what a training left, `store` reaches MLflow, `runs`, `additions` and `registry` bring it up to date
(`entities` says a record in MLflow's words), `live` does so beside a running training, `holdings` lets go of what is
needed no more. Only this folder imports MLflow, and late.
"""
