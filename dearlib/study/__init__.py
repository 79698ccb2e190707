"""dearlib.study."""
