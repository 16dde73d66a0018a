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
 * The logs of Delta tables on s3a: a version is one PUT on condition that it is not there. Delta's own store looks, and
 * then replaces what another job has committed meanwhile.
 *
 * <p>A version that another job has made is an error, which Delta passes on. Of FileAlreadyExistsException it would make
 * another try with the next version: a table has one writer, so whoever loses has been replaced by another one.
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
            // The answer may be lost, and the request that was sent again have met its own file: no two are alike.
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
        stream.close(); // only after a write that was whole: it is what sends the file
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
