"""Networks: a tensor in, a tensor of the same shape out. They know nothing of schedules."""
