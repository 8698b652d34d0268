"""PyTorch code, observed operator by operator as it is dispatched."""
