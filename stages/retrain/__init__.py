"""One call of the scheduler: new photographs in, models trained again, judged, promoted or not.

`__main__` is the order of events; `inbox` takes photographs in, `drift` says how they differ, `workshop` runs the
pipeline apart from the present outputs, `trial` measures candidate and champion, `gate` decides.
`housekeeping` lets go, on demand, of what all those calls left and nothing needs.
"""
