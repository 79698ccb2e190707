"""What a reviewer asks to see beside DeAR: the least that could do the same. Built and trained like the family [ours]."""
