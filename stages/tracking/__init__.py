"""MLflow as a view of the pipeline's files, which can be rebuilt at any time.

`record` reads the files of a training, `store` connects to MLflow, `runs`, `additions` and `registry` update it
(`entities` converts records), `live` mirrors a running training, `holdings` deletes what nothing needs. Only this
package imports MLflow, and only inside functions, since that takes seconds.

Functions that talk to MLflow raise `TrackingError` if it cannot be reached or refuses a request; the next call
completes an interrupted one.
"""
