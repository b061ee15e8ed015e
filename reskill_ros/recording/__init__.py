"""Messages to episodes and bags, and back."""
