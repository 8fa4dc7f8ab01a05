"""What a step aims at: from vectors to the loss and its gradient."""
