"""What make bench runs by spark-submit beside the jobs: the smallest job, and ceilings."""
