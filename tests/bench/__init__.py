"""`make bench`: what every stage takes, each figure beside what its parts can do, measured in the same run."""
