"""Linear classifiers on features, fitted to convergence with a certificate."""
