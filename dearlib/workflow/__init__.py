"""How it is run: notebooks by papermill, their pairs, all steps by Snakemake, several processes, comparing results."""
