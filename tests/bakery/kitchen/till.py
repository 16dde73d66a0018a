"""What preflight asks of the till."""

from pipeline_config.preflight.probe import Failure, Probe


def ask(asked):
    """One of the till, which is a folder's worth of work to set up, and is not asked at night."""

    def till():
        if not asked.settings.connection(asked.name).login:
            raise Failure("nobody is at the till", f"give {asked.name} a login")
        return f"open, for {len(asked.uses)} tasks"

    return [Probe(asked.name, till, "")]
