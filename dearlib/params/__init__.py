"""dearlib.params."""
