import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's console tools, each in a thread of its own, in one JVM: starting one takes longer than what most of them do.
 *
 * stdin: {"id":1,"tool":"org.apache.kafka.tools.TopicCommand","args":["--list",...],"input":"..."}
 * stdout: {"id":1,"code":0,"out":"..."} when it has ended. Ends when stdin does, or when a tool takes longer than LIMIT_MS.
 */
public class ConsoleTools {
    static final ObjectMapper JSON = new ObjectMapper();
    static final long LIMIT_MS = 240_000;

    /** What one thread reads, writes and leaves for its end. */
    record Console(InputStream in, ByteArrayOutputStream out, List<Runnable> hooks, AtomicReference<Exited> exited) {}

    static final InheritableThreadLocal<Console> CONSOLE = new InheritableThreadLocal<>();

    static class Exited extends RuntimeException {
        final int code;

        Exited(int code) {
            super("exit " + code);
            this.code = code;
        }

        /** Some tools take it for an error of their own, and exit once more: the first time counts. */
        static void now(int code, String message) {
            CONSOLE.get().exited.compareAndSet(null, new Exited(code));
            throw CONSOLE.get().exited.get();
        }
    }

    /** The tools' own classes are each run's own: the consumer, for one, counts records in a static field. */
    static class Own extends URLClassLoader {
        static final String PACKAGE = "org.apache.kafka.tools.";

        Own(Class<?> tool) {
            super(new URL[] {tool.getProtectionDomain().getCodeSource().getLocation()}, tool.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                Class<?> found = findLoadedClass(name);
                if (found != null) {
                    return found;
                }
                boolean mine = name.startsWith(PACKAGE) && findResource(name.replace('.', '/') + ".class") != null;
                return mine ? findClass(name) : super.loadClass(name, resolve);
            }
        }
    }

    public static void main(String[] none) {
        PrintStream answers = System.out;
        InputStream orders = System.in;
        OutputStream out = new OutputStream() {
            @Override public void write(int b) { if (CONSOLE.get() != null) CONSOLE.get().out.write(b); }
        };
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setIn(new InputStream() {
            @Override public int read() throws IOException { return CONSOLE.get().in.read(); }
            @Override public int read(byte[] b, int from, int count) throws IOException {
                return CONSOLE.get().in.read(b, from, count);
            }
        });
        Exit.setExitProcedure(Exited::now);
        Exit.setHaltProcedure(Exited::now);
        Exit.setShutdownHookAdder((name, hook) -> CONSOLE.get().hooks.add(hook));
        Scanner lines = new Scanner(orders, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String line = lines.nextLine();
            Thread job = new Thread(() -> run(line, answers));
            job.setDaemon(true);
            job.start();
            Thread watch = new Thread(() -> {
                try {
                    job.join(LIMIT_MS);
                } catch (InterruptedException e) {
                    return;
                }
                if (job.isAlive()) {
                    System.err.println("too slow: " + line);
                    Runtime.getRuntime().halt(3);
                }
            });
            watch.setDaemon(true);
            watch.start();
        }
        Runtime.getRuntime().halt(0);
    }

    static void run(String line, PrintStream answers) {
        try {
            JsonNode order = JSON.readTree(line);
            byte[] input = order.get("input").asText().getBytes(StandardCharsets.UTF_8);
            Console console = new Console(
                new ByteArrayInputStream(input), new ByteArrayOutputStream(), new ArrayList<>(), new AtomicReference<>());
            CONSOLE.set(console);
            List<String> args = new ArrayList<>();
            order.get("args").forEach(arg -> args.add(arg.asText()));
            int code = call(order.get("tool").asText(), args.toArray(String[]::new));
            console.hooks.forEach(Runnable::run);
            Map<String, Object> answer = Map.of(
                "id", order.get("id").asInt(), "code", code, "out", console.out.toString(StandardCharsets.UTF_8));
            synchronized (answers) {
                answers.println(JSON.writeValueAsString(answer));
                answers.flush();
            }
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(4);
        }
    }

    static int call(String tool, String[] args) throws Exception {
        Own own = new Own(Class.forName(tool, false, ConsoleTools.class.getClassLoader()));
        Thread.currentThread().setContextClassLoader(own);
        try {
            own.loadClass(tool).getMethod("main", String[].class).invoke(null, (Object) args);
            return 0;
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof Exited exited) {
                return exited.code;
            }
            e.getCause().printStackTrace();
            return 1;
        }
    }
}
