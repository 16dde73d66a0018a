"""What the operators share: a missing variable or connection is named, and what no retry would fix is not retried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowRuntimeError, ErrorType

from pipeline_config.job_contract import NON_RETRYABLE, USAGE

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


@contextmanager
def missing_connections_fail() -> Iterator[None]:
    """A connection that Airflow does not have is one line that says which, and what to do; it uses up no retries."""
    try:
        yield
    except AirflowNotFoundException as error:
        raise AirflowFailException(
            f"error: {error}; add it under Admin → Connections (pipelines/catalog.yaml says what each is for)"
        ) from None


class RenderingNamesVariables(BaseOperator):
    """Reports a missing Airflow variable in one line, with its name and what to do."""

    @missing_connections_fail()
    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render; AirflowFailException names the variable that Airflow does not have."""
        try:
            super().render_template_fields(context, jinja_env)
        except AirflowRuntimeError as error:
            if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
                raise
            detail = error.error.detail or {}
            name = detail.get("key") or detail.get("message")
            raise AirflowFailException(
                f"error: Airflow variable not found: {name}; set it under Admin → Variables "
                "(pipelines/catalog.yaml says what each is for)"
            ) from None


def fail_without_retries(exit_code: int) -> None:
    """AirflowFailException, which skips retries, if the job's exit code says that none would help."""
    if exit_code in {USAGE, NON_RETRYABLE}:
        raise AirflowFailException(f"exit code {exit_code}: no retry would fix it; see the reason above")
