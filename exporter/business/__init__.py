"""What a model's decisions are worth: expressions over columns, and indicators made of their sums. Pure."""
