"""Training structures as the models on torch take them."""
