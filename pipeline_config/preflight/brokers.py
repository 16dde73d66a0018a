"""Kafka, as far as possible without a client: whether a broker accepts connections."""

from __future__ import annotations

import socket
from functools import partial

from pipeline_config.preflight.probe import ANSWER_SECONDS, Failure, Probe
from pipeline_config.preflight.settings import Settings
from pipeline_config.preflight.uses import Asked


def ask(asked: Asked) -> list[Probe]:
    """One of the brokers that the variable names."""
    return [Probe(asked.name, partial(_answering, asked.settings, asked.name), f"start them, or correct {asked.name}")]


def _answering(settings: Settings, variable: str) -> str:
    brokers = settings.variable(variable).split(",")
    refused = []
    for broker in brokers:
        host, _, port = broker.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS / len(brokers)).close()
        except (OSError, ValueError, OverflowError) as error:
            refused.append(f"{broker} ({error})")
        else:
            return f"{broker} accepts connections"
    raise Failure(f"none accepts connections: {', '.join(refused)}", f"start them, or correct {variable}")
