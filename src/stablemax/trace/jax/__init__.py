"""JAX code run beside its exact shadow: its jaxpr, equation by equation."""
