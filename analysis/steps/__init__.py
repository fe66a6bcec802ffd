"""Steps of the analysis: each takes a `Run` and returns the arrays that its figures and tables are made of."""
