"""A system with known answers: the Gaussian scale mixture, recorded as a trained field is."""
