"""How a stage runs: params, files, errors, locks and signals, the machine."""
