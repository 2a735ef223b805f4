"""DeGRe (2605.25749): an evaluator looks ahead in training, a greedy generator answers. GoalRank's way beside it."""
