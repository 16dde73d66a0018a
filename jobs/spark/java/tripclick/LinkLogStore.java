package tripclick;

import io.delta.storage.HDFSLogStore;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * The logs of Delta tables in a folder, local or mounted: a version is a hard link, which is created only if it does
 * not exist. Delta's own store checks first, and then renames its file over what another job has committed in between.
 *
 * <p>If another job has committed the version, that is an error, as in ConditionalLogStore.
 */
public class LinkLogStore extends HDFSLogStore {
    public LinkLogStore(Configuration settings) {
        super(settings);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration settings)
            throws IOException {
        if (overwrite) {
            super.write(path, actions, true, settings);
            return;
        }
        java.nio.file.Path version = java.nio.file.Path.of(path.toUri().getPath());
        java.nio.file.Path draft = version.resolveSibling("." + version.getFileName() + "." + UUID.randomUUID());
        try {
            Files.write(draft, (Iterable<String>) () -> actions);
            Files.createLink(version, draft);
        } catch (FileAlreadyExistsException error) {
            // A file server may have created the link, and its response been lost.
            if (!Files.isSameFile(version, draft)) {
                throw new IOException(path + ": another job has made this version", error);
            }
        } finally {
            Files.deleteIfExists(draft);
        }
    }
}
