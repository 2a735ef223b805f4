"""DeGRe (2605.25749): an evaluator of lists looks ahead while training, a greedy generator answers; and GoalRank's way of it."""
