"""What DeAR costs, measured: `dearlib bench`."""
