"""What is frozen: loading a CLIP, the cut at layer J, attention kernels, and the cache of all that lies below J.

Eq. 1 is `attention.reference`; `loading` knows every tag's own normalisation; layers are numbered from 1.
"""
