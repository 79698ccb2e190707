"""What DeAR costs, measured: `python -m dearlib.bench` (see `__main__`)."""
