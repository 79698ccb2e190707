"""dearlib.roles."""
