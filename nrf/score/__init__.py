"""How good a model of images the field is: log likelihood, restoration and detection beside simple models."""
