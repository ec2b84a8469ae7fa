"""The daily spend model, and the month's projection against the budget."""
