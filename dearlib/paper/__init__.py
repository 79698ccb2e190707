"""dearlib.paper."""
