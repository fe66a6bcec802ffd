"""Models of primary visual cortex fitted to responses to natural images."""
