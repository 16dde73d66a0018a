"""Templates: what is known before a run is rendered, and what only a run knows is unknown, for its own option alone."""

from __future__ import annotations

import pytest

from pipeline_config import templates
from pipeline_config.errors import RenderError, RunValueError
from pipeline_config.templates import render, what_is_wrong

KNOWN = {
    "{{ ds_nodash }} {{ ts_nodash }} {{ ts_nodash_with_tz }}": "20240102 20240102T150000 20240102T150000+0000",
    "{{ macros.ds_add(ds, 3) }}": "2024-01-05",
    "{{ macros.ds_format(ds, '%Y-%m-%d', '%d.%m.%y') }}": "02.01.24",
    "{{ (dag_run.run_after - macros.timedelta(days=1)) | ds_nodash }}": "20240101",
    "{{ logical_date.in_timezone('Asia/Seoul').start_of('month').to_date_string() }}": "2024-01-01",
    "{{ (data_interval_end.add(days=2) - logical_date).in_hours() }}": "48",
    "{{ ti.run_id }}": "manual__2024-01-02T15:00:00+00:00",
    "{{ var.json.LIMITS.high + try_number }}": "8",
    "{% do params.update(x=1) %}{{ var.value.NAME | shell_quote }}": "'a b'",
}
UNKNOWN = {
    "{{ ti.xcom_pull(task_ids='start') }}": "<ti.xcom_pull>",
    "{{ ti.xcom_pull('x')['files'][0] | shell_quote }}": "'<ti.xcom_pull.files.0>'",
    "{{ dag_run.conf.get('day', ds) }}": "<dag_run.conf.get>",
    "{{ conn.server.host }}:{{ conn.server.port }}": "<conn.server.host>:<conn.server.port>",
    "{{ var.value.ELSEWHERE }}": "<var.value.ELSEWHERE>",
    "{{ macros.dateutil.parser.parse(ds) }}": "<macros.dateutil.parser.parse>",
    "{{ macros.timedelta(days=dag_run.conf['n']) }}": "",
    "{{ ti.xcom_pull('x') | int + 1 }}": "",
    "{{ ti.xcom_pull('x') | tojson }}": "",
    "{% for file in ti.xcom_pull('x') %}{{ file }}{% endfor %}": "",
    "{{ prev_start_date_success.add(days=1) | ds if prev_start_date_success else ds }}": "",
}
WRONG = {
    "{{ logical_date.tomorrow() }}": "'pendulum.DateTime object' has no attribute 'tomorrow'",
    "{{ macros.timedelta(day=1) }}": "'day' is an invalid keyword argument for __new__()",
    "{{ ds.strftime('%d') }}": "'str object' has no attribute 'strftime'",
}
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
ENDLESS = [
    LOOPS,
    "{% filter shell_quote %}" + LOOPS + "{% endfilter %}",
    "{% macro f() %}" + LOOPS + "{% endmacro %}{{ f() }}",
]
MISSPELT = {
    "{{ ti.xcom_pul('x') }}": "ti has no 'xcom_pul'",
    "{{ macros.ds_ad(ds, 1) }}": "macros has no 'ds_ad'",
    "{{ dag_run.config }}": "dag_run has no 'config'",
}
SECRETS = [
    "conn.gold.password",
    "conn['gold']['password']",
    "conn.get('gold').password",
    "conn.gold.get_uri()",
    "conn.gold.aget_uri()",
    "conn.gold.as_json()",
    "conn.gold.to_dict()['password']",
    "conn.gold.get_hook().get_uri()",
    "conn.gold.extra",
    "conn.gold.extra_dejson",
    "conn.gold.extra_dejson['private_key']",
    "conn.gold.extra_dejson.get('aws_secret_access_key')",
    "conn.gold | attr('password')",
    "conn[params.which].password",
    "conn.get(params.which).password",
]
VARIABLES = {"NAME": "a b", "LIMITS": '{"high": 7}'}


@pytest.mark.parametrize("text", KNOWN)
def test_what_is_known_before_a_run_is_rendered(text: str) -> None:
    assert list(what_is_wrong(text)) == []
    assert render(text, VARIABLES, {}) == KNOWN[text]


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_only_a_run_knows_is_unknown_and_shown_by_its_name(text: str) -> None:
    assert list(what_is_wrong(text)) == []
    with pytest.raises(RunValueError):
        render(text, VARIABLES, {})
    if UNKNOWN[text]:
        assert render(text, VARIABLES, {}, shown=True) == UNKNOWN[text]


@pytest.mark.parametrize("text", WRONG)
def test_what_no_run_can_render_says_why(text: str) -> None:
    with pytest.raises(RenderError) as caught:
        render(text, VARIABLES, {})
    assert str(caught.value) == WRONG[text]
    assert not isinstance(caught.value, RunValueError)


@pytest.mark.parametrize("text", MISSPELT)
def test_a_name_that_does_not_exist_is_reported(text: str) -> None:
    assert [message.removeprefix("Jinja: ") for _, message, _ in what_is_wrong(text)] == [MISSPELT[text]]


@pytest.mark.parametrize("read", SECRETS)
def test_a_secret_of_a_connection_is_not_to_be_read_whatever_it_is_called(read: str) -> None:
    for text in (f"{{{{ {read} }}}}", f"{{% set it = {read} %}}postgresql://x:{{{{ it }}}}@gold"):
        ((_, message, hint),) = what_is_wrong(text)
        assert message.endswith(" is a secret, which a rendered field, a log and a process list would show"), text
        assert hint == "declare the connection; the operator passes it on"


def test_fields_of_a_connection_that_are_not_secret_can_be_read() -> None:
    text = "{{ conn.gold.host }}:{{ conn['gold'].port }}/{{ conn.get('gold').schema.lower() }}"
    assert list(what_is_wrong(f"{text} {{{{ conn.aws_s3.extra_dejson.region_name }}}}")) == []


@pytest.mark.parametrize("text", ENDLESS)
def test_a_template_that_would_never_end_is_stopped(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_SECONDS", 0.01)
    with pytest.raises(RenderError, match="it takes longer than"):
        render(text, {}, {})


def test_a_format_is_as_large_as_another_text() -> None:
    assert render("{{ '%03d' % 5 }}{{ 7 % 3 }}", {}, {}) == "0051"
    with pytest.raises(RenderError, match="% would make more than"):
        render("{{ '%1000000000d' % 1 }}", {}, {})
