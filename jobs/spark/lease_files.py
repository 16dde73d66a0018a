"""Small files, created atomically and only if absent: in a local or shared folder, or on S3."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobs.spark.jvm import hadoop_settings, jvm_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Files(Protocol):
    """A folder of files that are never changed. Errors are OSErrors."""

    def names(self) -> list[str]:
        """The names of the files; none if there is no folder."""

    def read(self, name: str) -> bytes | None:
        """The content; None if there is no such file."""

    def create(self, name: str, content: bytes) -> bool:
        """Create it with its content atomically; False if it exists already."""

    def delete(self, name: str) -> None:
        """Delete the file, if it exists."""


def files_in(spark: SparkSession, folder: str) -> Files:
    """Small files in a folder of whatever file system."""
    name = absolute(folder)
    return HadoopFiles(spark, name) if "://" in name else LocalFiles(Path(name))


def absolute(path: str) -> str:
    """A folder by the name under which every process finds it."""
    name = path.rstrip("/").removeprefix("file://")
    return name if "://" in name else str(Path(name).resolve())


class LocalFiles:
    """In a folder of this host, or a mounted one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        return [file.name for file in self._folder.iterdir()] if self._folder.is_dir() else []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, name: str, content: bytes) -> bool:
        # Hadoop's local file system checks before it writes, so two writers could both succeed. A link is atomic.
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{uuid.uuid4().hex}"
        try:
            draft.write_bytes(content)
            os.link(draft, self._folder / name)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class HadoopFiles:
    """In a folder of a Hadoop file system with conditional writes: s3a."""

    def __init__(self, spark: SparkSession, folder: str) -> None:
        self._jvm = jvm_of(spark)
        self._folder = folder
        path = self._path("")
        self._fs = path.getFileSystem(hadoop_settings(spark))

    def names(self) -> list[str]:
        try:
            return [status.getPath().getName() for status in self._fs.listStatus(self._path(""))]
        except Exception as error:
            if _is(error, "FileNotFoundException"):
                return []
            raise _os_error(error) from error

    def read(self, name: str) -> bytes | None:
        try:
            stream = self._fs.open(self._path(name))
            try:
                return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
            finally:
                stream.close()
        except Exception as error:
            if _is(error, "FileNotFoundException"):
                return None
            raise _os_error(error) from error

    def create(self, name: str, content: bytes) -> bool:
        try:
            builder = self._fs.createFile(self._path(name)).overwrite(True).recursive()
            stream = builder.must("fs.option.create.conditional.overwrite", True).build()
            stream.write(content)
            stream.close()
        except Exception as error:
            if self.read(name) == content:  # the answer was lost, and the retry met its own file
                return True
            if _is(error, "RemoteFileChangedException", "FileAlreadyExistsException"):
                return False
            raise _os_error(error) from error
        return True

    def delete(self, name: str) -> None:
        try:
            self._fs.delete(self._path(name), False)
        except Exception as error:
            raise _os_error(error) from error

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self._folder}/{name}")


def _is(error: Exception, *names: str) -> bool:
    return any(name in str(getattr(error, "java_exception", "")) for name in names)


def _os_error(error: Exception) -> OSError:
    return OSError(" ".join(str(getattr(error, "java_exception", error)).split()))
