"""A stand-in for componentize-py's generated bindings: the same shapes, no host behind them."""
