"""Softmax, cross-entropy and their gradients: where they break, proved against exact arithmetic."""
