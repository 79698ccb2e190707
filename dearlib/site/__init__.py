"""The site: every lesson, the reference and what was run, as pages that open from a folder. `make site` builds it.

A package of its own because it reads everything else and nothing reads it; Sphinx is needed here alone (`dearlib[site]`).
"""
