"""dearlib.methods."""
