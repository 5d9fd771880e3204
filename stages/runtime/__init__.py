"""What every stage needs to run: params, files, errors, locks and signals, the machine."""
