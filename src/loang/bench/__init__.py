"""How fast this machine trains and samples, beside what it can do."""
