"""The embedded default: small trained networks and a CIFAR-10 sample for `kinprint demo`."""
