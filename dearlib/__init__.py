"""dearlib."""
