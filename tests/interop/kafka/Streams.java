import java.util.*;
import java.time.Duration;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/** Streams.java: a word count with Kafka Streams, exactly once, by one instance, two, the other one
 * alone, and one that begins without its state. The counts have to be those of what was put in. */
public class Streams {
    static Properties config(String broker, String dir) {
        Properties p = new Properties();
        p.put("bootstrap.servers", broker);
        p.put("application.id", "java.words");
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("default.key.serde", Serdes.StringSerde.class);
        p.put("default.value.serde", Serdes.StringSerde.class);
        p.put("num.stream.threads", 2);
        p.put("commit.interval.ms", 100);
        p.put("state.dir", dir);
        p.put("replication.factor", 1);
        p.put("consumer.auto.offset.reset", "earliest");
        p.put("consumer.session.timeout.ms", 6000);
        p.put("consumer.heartbeat.interval.ms", 1000);
        return p;
    }

    static Topology words() {
        StreamsBuilder b = new StreamsBuilder();
        b.<String, String>stream("java.lines")
            .flatMapValues(v -> Arrays.asList(v.split(" ")))
            .groupBy((k, v) -> v)
            .count(Materialized.as("counts"))
            .toStream()
            .to("java.counts", Produced.with(Serdes.String(), Serdes.Long()));
        return b.build();
    }

    static KafkaStreams start(String broker, String dir) throws Exception {
        KafkaStreams s = new KafkaStreams(words(), config(broker, dir));
        CountDownLatch running = new CountDownLatch(1);
        s.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) running.countDown();
        });
        s.start();
        if (!running.await(60, TimeUnit.SECONDS)) throw new Exception("not running");
        return s;
    }

    static Map<String, Long> expected = new TreeMap<>();

    static void put(String broker, int n) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", broker);
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> out = new KafkaProducer<>(p, text, text)) {
            for (int i = 0; i < n; i++) {
                String line = "a w" + i % 97 + " w" + i % 13;
                for (String w : line.split(" ")) expected.merge(w, 1L, Long::sum);
                out.send(new ProducerRecord<>("java.lines", "k" + i, line));
            }
        }
    }

    static void check(String broker, long seconds) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", broker);
        p.put("isolation.level", "read_committed");
        p.put("auto.offset.reset", "earliest");
        p.put("group.id", "java.check." + UUID.randomUUID());
        Map<String, Long> got = new TreeMap<>();
        long end = System.currentTimeMillis() + seconds * 1000;
        int down = 0;
        StringDeserializer text = new StringDeserializer();
        try (KafkaConsumer<String, Long> c = new KafkaConsumer<>(p, text, new LongDeserializer())) {
            c.subscribe(List.of("java.counts"));
            while (System.currentTimeMillis() < end && !got.equals(expected))
                for (ConsumerRecord<String, Long> r : c.poll(Duration.ofMillis(200))) {
                    Long was = got.put(r.key(), r.value());
                    if (was != null && was > r.value()) down++;
                }
        }
        if (!got.equals(expected)) {
            int bad = 0;
            for (String w : expected.keySet())
                if (!expected.get(w).equals(got.get(w)) && bad++ < 5)
                    System.out.println(w + ": " + got.get(w) + " for " + expected.get(w));
            throw new Exception("counts differ: " + bad);
        }
        if (down > 0) throw new Exception(down + " counts went down");
    }

    public static void main(String[] a) throws Exception {
        String broker = a[0], dir = a[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            admin.createTopics(List.of(new NewTopic("java.lines", 4, (short) 1),
                    new NewTopic("java.counts", 3, (short) 1))).all().get();
        }
        put(broker, 2000);
        KafkaStreams one = start(broker, dir + "/1");
        check(broker, 60);
        System.out.println("ok streams: exactly once");
        KafkaStreams two = start(broker, dir + "/2");
        put(broker, 2000);
        check(broker, 60);
        System.out.println("ok streams: a second instance");
        one.close(Duration.ofSeconds(30));
        put(broker, 1000);
        check(broker, 60);
        System.out.println("ok streams: the first one leaves");
        two.close(Duration.ofSeconds(30));
        put(broker, 1000);
        KafkaStreams three = start(broker, dir + "/3"); // its state from the changelog
        check(broker, 60);
        System.out.println("ok streams: state from the changelog");
        three.close(Duration.ofSeconds(30));
    }
}
