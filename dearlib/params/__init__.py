"""What a run may be told: the schemas of parameter files, reading and checking them, YAML 1.2."""
