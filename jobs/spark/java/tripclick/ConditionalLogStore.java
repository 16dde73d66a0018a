package tripclick;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The logs of Delta tables on s3a: a version is one PUT that succeeds only if the file does not exist. Delta's own
 * store checks first, and then overwrites what another job has committed in between.
 *
 * <p>If another job has committed the version, that is an error, which Delta passes on. After a
 * FileAlreadyExistsException it would retry with the next version; but a table has one writer, so whoever loses has
 * been replaced by another one.
 */
public class ConditionalLogStore extends S3SingleDriverLogStore {
    private static final String CONDITION = "fs.option.create.conditional.overwrite";

    public ConditionalLogStore(Configuration settings) {
        super(settings);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration settings)
            throws IOException {
        if (overwrite) {
            super.write(path, actions, true, settings);
            return;
        }
        FileSystem files = path.getFileSystem(settings);
        byte[] content = bytes(actions);
        try {
            create(files, path, content);
        } catch (IOException error) {
            // The response may have been lost, and the retry found its own file: no two commits have the same content.
            byte[] there = read(files, path, content.length + 1);
            if (there == null) {
                throw error;
            }
            if (!Arrays.equals(there, content)) {
                throw new IOException(path + ": another job has made this version", error);
            }
        }
    }

    private static void create(FileSystem files, Path path, byte[] content) throws IOException {
        FSDataOutputStreamBuilder<?, ?> builder = files.createFile(path).overwrite(true).recursive();
        builder.must(CONDITION, true);
        FSDataOutputStream stream = builder.build();
        stream.write(content);
        stream.close(); // only after a complete write: closing sends the file
    }

    private static byte[] read(FileSystem files, Path path, int most) throws IOException {
        try (FSDataInputStream stream = files.open(path)) {
            return stream.readNBytes(most);
        } catch (FileNotFoundException error) {
            return null;
        }
    }

    private static byte[] bytes(Iterator<String> lines) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        while (lines.hasNext()) {
            content.writeBytes((lines.next() + "\n").getBytes(StandardCharsets.UTF_8));
        }
        return content.toByteArray();
    }
}
