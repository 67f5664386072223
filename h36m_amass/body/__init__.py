"""Body models, joint regressors and joint sets, and their folding into one another. No torch."""
