"""dearlib.workflow."""
