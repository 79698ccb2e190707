"""Data sets: the split files everyone shares, few-shot sampling, transforms, and the Attribute World."""
