"""One call of the scheduler: new photographs in, models trained again, judged, promoted or not.

`phases` is the order of events and `call` its record; `inbox` takes photographs in, `drift` says how they differ,
`worktree` runs the pipeline apart from the present outputs, `trial` measures candidate and champion, `gate` decides.
`housekeeping` lets go, on demand, of what all those calls left and nothing needs.
"""
