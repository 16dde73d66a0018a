"""The bell of the shop."""

from airflow.sdk import BaseOperator


class BellOperator(BaseOperator):
    """Rings so many times."""

    def __init__(self, *, times: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.times = times

    def execute(self, context):
        """Ring."""
        self.log.info("ding " * self.times)
