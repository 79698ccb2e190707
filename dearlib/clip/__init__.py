"""dearlib.clip."""
