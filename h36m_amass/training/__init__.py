"""Windows of stores for training, and what is done to them."""
