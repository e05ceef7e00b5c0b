import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidMetadataException;
import org.apache.kafka.common.errors.RefreshRetriableException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Java's own producer, consumer and admin client behind JSON lines, so that a test session pays for one start of a JVM.
 *
 * A line on stdin: {"op": "produce", "bootstrap": "127.0.0.1:9092", ...}; a line on stdout: {"result": ...} or {"error": class,
 * "message": ...}. Bytes are hex, null is null. It ends when stdin does. tests/integration/kafka.py documents the operations.
 */
public final class KafkaHelper {
    static final ObjectMapper JSON = new ObjectMapper();
    static final HexFormat HEX = HexFormat.of();
    static final int PATIENCE_MS = 30_000;

    static final Map<String, Admin> admins = new HashMap<>();
    /** Transactions left open, by transactional id. */
    static final Map<String, KafkaProducer<byte[], byte[]>> open = new HashMap<>();
    static final Map<Integer, GroupMember> members = new HashMap<>();
    static int memberCount;

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);   // nothing but answers on stdout, whatever a library prints
        String line;
        while ((line = in.readLine()) != null) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                answer.set("result", run(JSON.readTree(line)));
            } catch (Throwable error) {
                Throwable cause = error instanceof ExecutionException && error.getCause() != null ? error.getCause() : error;
                answer.put("error", cause.getClass().getSimpleName()).put("message", String.valueOf(cause.getMessage()));
            }
            out.println(JSON.writeValueAsString(answer));
        }
        System.exit(0);   // open transactions stay open, as a crashed program would leave them
    }

    static JsonNode run(JsonNode q) throws Exception {
        return switch (q.get("op").asText()) {
            case "errors" -> errors();
            case "nodes" -> nodes(q);
            case "forget" -> {   // a cluster that is no more, else its admin client goes on dialling it
                Admin a = admins.remove(q.get("bootstrap").asText());
                if (a != null) a.close(Duration.ZERO);
                yield done();
            }
            case "create_topics" -> createTopics(q);
            case "delete_topics" -> { get(admin(q).deleteTopics(strings(q.get("topics"))).all()); yield done(); }
            case "alter_topic" -> alterTopic(q);
            case "describe_topic" -> describeTopic(q);
            case "delete_records" -> {
                get(admin(q).deleteRecords(Map.of(partition(q), RecordsToDelete.beforeOffset(q.get("before").asLong()))).all());
                yield done();
            }
            case "reassign" -> reassign(q);
            case "elect_preferred" -> {
                get(admin(q).electLeaders(ElectionType.PREFERRED, Set.of(partition(q))).partitions());
                yield done();
            }
            case "offset" -> offset(q);
            case "committed" -> committed(q);
            case "describe_group" -> describeGroup(q);
            case "produce" -> produce(q);
            case "end_transaction" -> endTransaction(q);
            case "consume" -> consume(q);
            case "member_start" -> memberStart(q);
            case "member_rows" -> members.get(q.get("id").asInt()).take();
            case "member_close" -> members.get(q.get("id").asInt()).end();
            case "member_drop" -> members.remove(q.get("id").asInt()).end();
            default -> throw new IllegalArgumentException("unknown op " + q.get("op"));
        };
    }

    // ------------------------------------------------------------------------------------------------------- the table

    static JsonNode errors() {
        ArrayNode rows = JSON.createArrayNode();
        for (Errors e : Errors.values()) {
            Exception x = e.exception();
            rows.addObject().put("code", e.code()).put("name", e.name()).put("retriable", x instanceof RetriableException)
                .put("invalid_metadata", x instanceof InvalidMetadataException)
                .put("refresh", x instanceof RefreshRetriableException);
        }
        return rows;
    }

    // ----------------------------------------------------------------------------------------------------------- admin

    static JsonNode nodes(JsonNode q) throws Exception {
        ArrayNode ids = JSON.createArrayNode();
        for (Node n : get(admin(q).describeCluster().nodes())) ids.add(n.id());
        return ids;
    }

    static JsonNode createTopics(JsonNode q) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (JsonNode t : q.get("topics")) {
            NewTopic topic;
            if (t.hasNonNull("replicas")) {
                Map<Integer, List<Integer>> replicas = new TreeMap<>();
                for (JsonNode r : t.get("replicas")) replicas.put(replicas.size(), ints(r));
                topic = new NewTopic(t.get("name").asText(), replicas);
            } else {
                topic = new NewTopic(t.get("name").asText(), t.get("partitions").asInt(), (short) t.get("replication").asInt());
            }
            Map<String, String> configs = new HashMap<>();
            t.get("configs").fields().forEachRemaining(e -> configs.put(e.getKey(), e.getValue().asText()));
            topics.add(topic.configs(configs));
        }
        get(admin(q).createTopics(topics).all());
        return done();
    }

    static JsonNode alterTopic(JsonNode q) throws Exception {
        String topic = q.get("topic").asText();
        List<AlterConfigOp> ops = new ArrayList<>();
        q.get("configs").fields().forEachRemaining(e -> ops.add(
            new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
        if (!ops.isEmpty())
            get(admin(q).incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), ops)).all());
        if (q.hasNonNull("partitions"))
            get(admin(q).createPartitions(Map.of(topic, NewPartitions.increaseTo(q.get("partitions").asInt()))).all());
        return done();
    }

    static JsonNode describeTopic(JsonNode q) throws Exception {
        String topic = q.get("topic").asText();
        TopicDescription d = get(admin(q).describeTopics(List.of(topic)).allTopicNames()).get(topic);
        ObjectNode o = JSON.createObjectNode().put("id", d.topicId().toString());
        ArrayNode partitions = o.putArray("partitions");
        for (TopicPartitionInfo p : d.partitions()) {
            ObjectNode x = partitions.addObject().put("partition", p.partition());
            x.put("leader", p.leader() == null ? -1 : p.leader().id());
            ArrayNode replicas = x.putArray("replicas"), isr = x.putArray("isr");
            for (Node n : p.replicas()) replicas.add(n.id());
            for (Node n : p.isr()) isr.add(n.id());
        }
        return o;
    }

    static JsonNode reassign(JsonNode q) throws Exception {
        get(admin(q).alterPartitionReassignments(
            Map.of(partition(q), Optional.of(new NewPartitionReassignment(ints(q.get("replicas")))))).all());
        return done();
    }

    static JsonNode offset(JsonNode q) throws Exception {
        OffsetSpec spec = switch (q.get("at").asText()) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            default -> OffsetSpec.forTimestamp(q.get("at").asLong());
        };
        ListOffsetsOptions options = new ListOffsetsOptions(
            q.path("read_committed").asBoolean() ? IsolationLevel.READ_COMMITTED : IsolationLevel.READ_UNCOMMITTED);
        return JSON.getNodeFactory().numberNode(get(admin(q).listOffsets(Map.of(partition(q), spec), options).all())
            .get(partition(q)).offset());
    }

    static JsonNode committed(JsonNode q) throws Exception {
        // A transaction is committed before its marker is where the offsets are.
        ListConsumerGroupOffsetsOptions stable = new ListConsumerGroupOffsetsOptions().requireStable(true);
        String group = q.get("group").asText();
        ArrayNode all = JSON.createArrayNode();
        for (Map.Entry<TopicPartition, OffsetAndMetadata> e
                : get(admin(q).listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata()).entrySet()) {
            if (e.getValue() == null) continue;
            ObjectNode o = all.addObject().put("topic", e.getKey().topic()).put("partition", e.getKey().partition());
            o.put("offset", e.getValue().offset()).put("metadata", e.getValue().metadata());
            o.put("leader_epoch", e.getValue().leaderEpoch().orElse(-1));
        }
        return all;
    }

    static JsonNode describeGroup(JsonNode q) throws Exception {
        String group = q.get("group").asText();
        ConsumerGroupDescription d = get(admin(q).describeConsumerGroups(List.of(group)).all()).get(group);
        ObjectNode o = JSON.createObjectNode().put("state", d.groupState().toString()).put("strategy", d.partitionAssignor());
        o.put("coordinator", d.coordinator().id());
        ArrayNode all = o.putArray("members");
        for (MemberDescription m : d.members()) {
            ObjectNode one = all.addObject().put("id", m.consumerId()).put("instance", m.groupInstanceId().orElse(null));
            ArrayNode partitions = one.putArray("partitions");
            for (TopicPartition tp : m.assignment().topicPartitions()) partitions.addArray().add(tp.topic()).add(tp.partition());
        }
        return o;
    }

    // --------------------------------------------------------------------------------------------- producing, consuming

    static JsonNode produce(JsonNode q) throws Exception {
        Map<String, Object> c = new HashMap<>();
        c.put("bootstrap.servers", q.get("bootstrap").asText());
        c.put("compression.type", q.path("codec").asText("none"));
        c.put("acks", "all");
        c.put("linger.ms", 20);
        c.put("max.block.ms", PATIENCE_MS);
        c.put("delivery.timeout.ms", PATIENCE_MS);
        c.put("request.timeout.ms", PATIENCE_MS / 2);
        c.put("enable.idempotence", q.path("idempotent").asBoolean(true));
        q.path("configs").fields().forEachRemaining(e -> c.put(e.getKey(), e.getValue().asText()));
        String id = q.hasNonNull("transactional_id") ? q.get("transactional_id").asText() : null;
        if (id != null) c.put("transactional.id", id);
        KafkaProducer<byte[], byte[]> producer = id == null ? null : open.get(id);
        boolean begun = producer != null;
        if (producer == null) producer = new KafkaProducer<>(c, new ByteArraySerializer(), new ByteArraySerializer());
        boolean keep = false;
        try {
            if (id != null && !begun) { producer.initTransactions(); producer.beginTransaction(); }
            int batch = q.path("flush_every").asInt(Integer.MAX_VALUE), sent = 0;
            List<Future<RecordMetadata>> futures = new ArrayList<>();
            for (JsonNode r : q.get("records")) {
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(r.get("topic").asText(),
                    r.hasNonNull("partition") ? (Integer) r.get("partition").asInt() : null,
                    r.hasNonNull("timestamp") ? (Long) r.get("timestamp").asLong() : null, bytes(r.get("key")), bytes(r.get("value")));
                for (JsonNode h : r.path("headers")) record.headers().add(h.get(0).asText(), bytes(h.get(1)));
                futures.add(producer.send(record));
                if (++sent % batch == 0) producer.flush();
            }
            producer.flush();
            ArrayNode where = JSON.createArrayNode();
            for (Future<RecordMetadata> f : futures) {
                RecordMetadata m = get(f);
                where.addObject().put("topic", m.topic()).put("partition", m.partition()).put("offset", m.offset())
                    .put("timestamp", m.timestamp());
            }
            if (q.hasNonNull("offsets")) {
                JsonNode o = q.get("offsets");
                producer.sendOffsetsToTransaction(Map.of(partition(o), new OffsetAndMetadata(o.get("offset").asLong(), "java")),
                    new ConsumerGroupMetadata(o.get("group").asText()));
            }
            if (id != null) keep = !end(producer, q.get("end").asText());
            if (keep) open.put(id, producer); else open.remove(id);
            return where;
        } finally {
            if (!keep) producer.close(Duration.ofSeconds(5));
        }
    }

    static JsonNode endTransaction(JsonNode q) {
        KafkaProducer<byte[], byte[]> producer = open.remove(q.get("transactional_id").asText());
        if (producer == null) throw new IllegalStateException("no open transaction " + q.get("transactional_id"));
        try {
            end(producer, q.get("end").asText());
        } finally {
            producer.close(Duration.ofSeconds(5));
        }
        return done();
    }

    /** Whether the transaction is over. */
    static boolean end(KafkaProducer<byte[], byte[]> producer, String how) {
        switch (how) {
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            case "open" -> { return false; }
            default -> throw new IllegalArgumentException("end: " + how);
        }
        return true;
    }

    /** Everything in one partition from its beginning to what is its end now. */
    static JsonNode consume(JsonNode q) {
        Map<String, Object> c = new HashMap<>();
        c.put("bootstrap.servers", q.get("bootstrap").asText());
        c.put("enable.auto.commit", false);
        c.put("isolation.level", q.path("read_committed").asBoolean() ? "read_committed" : "read_uncommitted");
        ArrayNode all = JSON.createArrayNode();
        TopicPartition tp = partition(q);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(c, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            long end = consumer.endOffsets(List.of(tp)).get(tp), deadline = System.nanoTime() + PATIENCE_MS * 1_000_000L;
            while (consumer.position(tp) < end) {
                if (System.nanoTime() > deadline) throw new IllegalStateException("stands at " + consumer.position(tp) + " of " + end);
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    ObjectNode o = all.addObject().put("topic", r.topic()).put("partition", r.partition()).put("offset", r.offset());
                    o.put("timestamp", r.timestamp()).put("timestamp_type", r.timestampType().id).put("key", hex(r.key()));
                    o.put("value", hex(r.value())).put("leader_epoch", r.leaderEpoch().orElse(-1));
                    ArrayNode headers = o.putArray("headers");
                    for (Header h : r.headers()) headers.addArray().add(h.key()).add(hex(h.value()));
                }
            }
        }
        return all;
    }

    // ----------------------------------------------------------------------------------------------- members of groups

    static JsonNode memberStart(JsonNode q) {
        GroupMember member = new GroupMember(q);
        members.put(++memberCount, member);
        member.start();
        return JSON.getNodeFactory().numberNode(memberCount);
    }

    /** Reads as a member of a group, and reports the rows that tests/integration/groups.py knows. */
    static final class GroupMember extends Thread implements ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final List<String> topics;
        private volatile boolean ended;
        private ArrayNode rows = JSON.createArrayNode();

        GroupMember(JsonNode q) {
            Map<String, Object> c = new HashMap<>();
            c.put("bootstrap.servers", q.get("bootstrap").asText());
            q.get("configs").fields().forEachRemaining(e -> c.put(e.getKey(), e.getValue().asText()));
            consumer = new KafkaConsumer<>(c, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            topics = strings(q.get("topics"));
            setDaemon(true);
        }

        @Override public void run() {
            try {
                consumer.subscribe(topics, this);
                while (!ended)
                    for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100)))
                        report(row("handled").add(r.topic()).add(r.partition()).add(r.offset()));
                consumer.close(CloseOptions.timeout(Duration.ofSeconds(10)));
                report(row("closed"));
            } catch (Throwable error) {
                report(row("failed").add(error.getClass().getSimpleName()).add(String.valueOf(error.getMessage())));
                consumer.close(CloseOptions.timeout(Duration.ZERO));
            }
        }

        @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(new HashSet<>(partitions));
            ArrayNode row = row("assigned"), all = row.addArray();
            for (TopicPartition tp : partitions) {
                OffsetAndMetadata found = committed.get(tp);
                ArrayNode one = all.addArray().add(tp.topic()).add(tp.partition());
                if (found == null) one.addNull(); else one.add(found.offset());
            }
            report(row.add(consumer.groupMetadata().generationId()).add(consumer.groupMetadata().memberId()));
        }

        @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) { gone("revoked", partitions); }

        @Override public void onPartitionsLost(Collection<TopicPartition> partitions) { gone("lost", partitions); }

        private void gone(String what, Collection<TopicPartition> partitions) {
            ArrayNode row = row(what), all = row.addArray();
            for (TopicPartition tp : partitions) all.addArray().add(tp.topic()).add(tp.partition());
            report(row);
        }

        private ArrayNode row(String what) {
            return JSON.createArrayNode().add(System.nanoTime() / 1e9).add(what);   // the clock of Python's time.monotonic()
        }

        private synchronized void report(ArrayNode row) { rows.add(row); }

        synchronized JsonNode take() {
            ArrayNode taken = rows;
            rows = JSON.createArrayNode();
            return taken;
        }

        JsonNode end() throws Exception {
            ended = true;
            join(PATIENCE_MS);
            return done();
        }
    }

    // ------------------------------------------------------------------------------------------------------------ small

    static Admin admin(JsonNode q) {
        return admins.computeIfAbsent(q.get("bootstrap").asText(), b -> Admin.create(Map.of("bootstrap.servers", b,
            "default.api.timeout.ms", PATIENCE_MS, "request.timeout.ms", PATIENCE_MS / 6, "reconnect.backoff.max.ms", 200)));
    }

    static <T> T get(Future<T> f) throws Exception { return f.get(PATIENCE_MS + 5_000L, TimeUnit.MILLISECONDS); }

    static TopicPartition partition(JsonNode q) { return new TopicPartition(q.get("topic").asText(), q.get("partition").asInt()); }

    static List<String> strings(JsonNode a) { List<String> l = new ArrayList<>(); a.forEach(x -> l.add(x.asText())); return l; }

    static List<Integer> ints(JsonNode a) { List<Integer> l = new ArrayList<>(); a.forEach(x -> l.add(x.asInt())); return l; }

    static byte[] bytes(JsonNode n) { return n == null || n.isNull() ? null : HEX.parseHex(n.asText()); }

    static String hex(byte[] b) { return b == null ? null : HEX.formatHex(b); }

    static JsonNode done() { return JSON.getNodeFactory().booleanNode(true); }
}
