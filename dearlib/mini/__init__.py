"""Where DeAR-Mini comes from: its pre-training, and the weights that ship with the package."""
