"""The suitcase: all code that travels to the Hub beside the weights."""
