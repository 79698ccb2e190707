"""What was run and what it says: runs and their records, tuning, averages, contrasts, claims, tables."""
