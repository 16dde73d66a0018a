"""What has the form of a secret is found, whichever it is; the words by which a file is looked at miss none."""

from __future__ import annotations

import pytest

from pipeline_config.checks.secrets import masked

LONG = "a1B2" * 12  # put together here: no file should hold what looks like one


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"x: {kind}_{LONG}"
            for kind in ("ghp", "gho", "ghu", "ghs", "ghr", "github_pat", "npm", "hf", "sk_live", "rk_live")
        ),
        *(f"x: {kind}-{LONG}" for kind in ("xoxa", "xoxb", "xoxp", "xoxr", "xoxs", "glpat", "pypi")),
        f"x: AIza{LONG[:35]}",
        f"x: dapi{'0a' * 16}",
        f"x: eyJ{LONG}.{LONG}.{LONG}",
        f"x: curl -H 'Bearer {LONG}'",
        f"x: AKIA{'A1' * 8}",
        f"x: ASIA{'A1' * 8}",
        f"x: https://hooks.slack.com/services/{LONG}",
        f"x: https://discord.com/api/webhooks/{LONG}",
        f"x: https://discordapp.com/api/webhooks/{LONG}",
        f"x: https://acme.webhook.office.com/webhookb2/{LONG}",
        "x: -----BEGIN RSA " + "PRIVATE KEY-----",
        "x: postgresql://me:" + "hunter2@gold",
        "x: me:" + "hunter2@gold",
        "x: curl -u me:" + "hunter2 gold",
        "x: curl -u\n  me:" + "hunter2",
        "x: curl --user me:" + "hunter2",
        "x: sshpass -p " + "hunter2",
        "x: 'Authorization: Basic " + "bWU6aHVudGVyMg=='",
        "비밀번호: " + "hunter2",
    ],
)
def test_each_form_of_secret_is_found(text: str) -> None:
    assert "***" in masked(text)


def test_text_without_the_form_of_a_secret_is_not_reported() -> None:
    text = "schedule: null  # through the night\ntimezone: Asia/Seoul\nto: me@example.org\nuntil-caught-up: true\n"
    assert masked(text) == text
