"""More brokers than one, for tests: followers of a first one, which is also the controller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from stack.home import Home
from stack.kafka_broker import SETTINGS, KafkaBroker


class Follower(KafkaBroker):
    """A broker of the cluster whose controller runs beside its first one."""

    ports: ClassVar[tuple[str, ...]] = ("kafka",)
    quorum: ClassVar[tuple[str, ...]] = ()

    def __init__(self, home: Home, first: KafkaBroker, number: int) -> None:
        super().__init__(home)
        self._first, self._number = first, number

    def prepare(self) -> None:
        """Write the settings; format the log folder the first time."""
        controller = self._first.home.port("kafka-controller")
        data = self.home.folder("kafka") / "data"
        text = SETTINGS.format(host=self.host, port=self.home.port("kafka"), controller_port=controller, data=data)
        text = re.sub(r",CONTROLLER://\S+", "", text.replace("broker,controller", "broker"))
        self._settings.write_text(text.replace("node.id=1", f"node.id={self._number}"), encoding="utf-8")
        if not (data / "meta.properties").exists():
            self._format()

    def cluster_id(self) -> str:
        """The one of the cluster that the first broker founded."""
        meta = (self._first.home.folder("kafka") / "data" / "meta.properties").read_text(encoding="utf-8")
        ids: list[str] = re.findall(r"cluster\.id=(\S+)", meta)
        return ids[0]


def three_brokers(folder: Path) -> list[KafkaBroker]:
    """The first one, which is also the controller, and two followers, to be started in this order."""
    first = KafkaBroker(Home(folder / "1", any_port=True))
    return [first, *(Follower(Home(folder / str(number), any_port=True), first, number) for number in (2, 3))]
