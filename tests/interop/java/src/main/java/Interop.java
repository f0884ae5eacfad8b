// jnats against the server whose URL is the argument. Prints a line per case that held.

import io.nats.client.*;
import io.nats.client.api.*;
import io.nats.client.impl.Headers;
import io.nats.client.impl.NatsMessage;
import io.nats.service.*;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.stream.Collectors;

public final class Interop {
    static final int MESSAGES = 2000;
    static final Duration LONG = Duration.ofSeconds(10);

    static void check(String what, boolean condition) {
        if (!condition) throw new IllegalStateException(what);
    }

    static void refused(String what, Callable<?> action) {
        try {
            action.call();
        } catch (Exception e) {
            return;
        }
        check(what, false);
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] b) {
        return b == null ? "" : new String(b, StandardCharsets.UTF_8);
    }

    static void core(Connection nc) throws Exception {
        Subscription sub = nc.subscribe("core.*");
        Headers headers = new Headers().add("X", "y");
        nc.publish(NatsMessage.builder().subject("core.a").headers(headers).data("1").build());
        Message m = sub.nextMessage(LONG);
        check("message", text(m.getData()).equals("1") && m.getHeaders().getFirst("X").equals("y"));
        sub.unsubscribe();

        AtomicIntegerArray got = new AtomicIntegerArray(2);
        for (int k = 0; k < 2; k++) {
            int member = k;
            nc.createDispatcher(q -> {
                got.incrementAndGet(member);
                nc.publish(q.getReplyTo(), bytes(text(q.getData()).toUpperCase(Locale.ROOT)));
            }).subscribe("core.queue", "q");
        }
        nc.flush(LONG);
        for (int k = 0; k < 50; k++) {
            Message answer = nc.request("core.queue", bytes("hello"), LONG);
            check("answer", text(answer.getData()).equals("HELLO"));
        }
        int asked = got.get(0) + got.get(1);
        check("each member was asked", got.get(0) > 0 && got.get(1) > 0 && asked == 50);
        CompletableFuture<Message> nobody = nc.request("core2.nobody", null);
        refused("no responders", () -> nobody.get(5, TimeUnit.SECONDS));
        check("at once", nobody.isDone());
    }

    static void publish(Connection nc) throws Exception {
        JetStream js = nc.jetStream();
        JetStreamManagement jsm = nc.jetStreamManagement();
        jsm.addStream(StreamConfiguration.builder().name("ORDERS").subjects("orders.>").build());
        List<CompletableFuture<PublishAck>> acks = new ArrayList<>();
        for (int k = 0; k < MESSAGES; k++)
            acks.add(js.publishAsync("orders." + k % 4, bytes("" + k)));
        for (int k = 0; k < MESSAGES; k++)
            check("sequences", acks.get(k).get(10, TimeUnit.SECONDS).getSeqno() == k + 1);
        PublishOptions one = PublishOptions.builder().messageId("one").build();
        PublishAck first = js.publish("orders.id", null, one);
        PublishAck again = js.publish("orders.id", null, one);
        check("duplicate", again.isDuplicate() && again.getSeqno() == first.getSeqno());
        PublishOptions wrong = PublishOptions.builder().expectedLastSequence(5).build();
        refused("expected", () -> js.publish("orders.x", null, wrong));
        StreamInfo info = jsm.getStreamInfo("ORDERS", StreamInfoOptions.allSubjects());
        check("state", info.getStreamState().getMsgCount() == MESSAGES + 1);
        check("subjects", info.getStreamState().getSubjectMap().get("orders.1") == MESSAGES / 4);
        String last = text(jsm.getLastMessage("ORDERS", "orders.3").getData());
        check("last", last.equals("" + (MESSAGES - 1)));
        check("names", jsm.getStreamNames().equals(List.of("ORDERS")));
    }

    static void pull(Connection nc) throws Exception {
        StreamContext orders = nc.getStreamContext("ORDERS");
        ConsumerContext puller = orders.createOrUpdateConsumer(
            ConsumerConfiguration.builder().durable("puller").filterSubject("orders.1").build());
        int seen = 0;
        while (seen < MESSAGES / 8) {
            FetchConsumer batch = puller.fetchMessages(50);
            for (Message m = batch.nextMessage(); m != null; m = batch.nextMessage()) {
                check("order", text(m.getData()).equals("" + (seen * 4 + 1)));
                m.ack();
                seen++;
            }
            batch.close();
        }
        IterableConsumer rest = puller.iterate();
        while (seen < MESSAGES / 4) {
            Message m = rest.nextMessage(LONG);
            check("order", text(m.getData()).equals("" + (seen * 4 + 1)));
            m.ack();
            seen++;
        }
        rest.close();
        check("end", puller.next(1000) == null);

        ConsumerContext naks = orders.createOrUpdateConsumer(ConsumerConfiguration.builder()
            .durable("naks").filterSubject("orders.2").maxAckPending(1).build());
        naks.next(LONG).nak();
        Message m = naks.next(LONG);
        check("again", text(m.getData()).equals("2") && m.metaData().deliveredCount() == 2);
        m.ackSync(LONG);
        check("floor", naks.getConsumerInfo().getAckFloor().getConsumerSequence() == 2);
        JetStreamManagement jsm = nc.jetStreamManagement();
        java.time.ZonedDateTime later = java.time.ZonedDateTime.now().plusHours(1);
        check("paused", jsm.pauseConsumer("ORDERS", "naks", later).isPaused());
        check("resumed", jsm.resumeConsumer("ORDERS", "naks"));
    }

    static void push(Connection nc) throws Exception {
        JetStreamSubscription sub = nc.jetStream().subscribe("orders.3",
            PushSubscribeOptions.builder().durable("pusher").build());
        for (int k = 3; k < MESSAGES; k += 4) {
            Message m = sub.nextMessage(LONG);
            check("order", text(m.getData()).equals("" + k));
            m.ack();
        }
        sub.unsubscribe();
    }

    static void ordered(Connection nc) throws Exception {
        OrderedConsumerContext c =
            nc.getStreamContext("ORDERS").createOrderedConsumer(new OrderedConsumerConfiguration());
        IterableConsumer all = c.iterate();
        for (int k = 0; k < MESSAGES; k++)
            check("ordered", text(all.nextMessage(LONG).getData()).equals("" + k));
        all.close();
    }

    static void keyValue(Connection nc) throws Exception {
        nc.keyValueManagement().create(
            KeyValueConfiguration.builder().name("conf").maxHistoryPerKey(5).build());
        KeyValue bucket = nc.keyValue("conf");
        BlockingQueue<KeyValueEntry> seen = new LinkedBlockingQueue<>();
        bucket.watchAll(new KeyValueWatcher() {
            public void watch(KeyValueEntry e) { seen.add(e); }
            public void endOfData() { }
        });
        long first = bucket.put("a.b", "1");
        check("update", bucket.update("a.b", "2", first) == first + 1);
        refused("wrong revision", () -> bucket.update("a.b", "3", first));
        bucket.create("c", bytes("x"));
        refused("exists", () -> bucket.create("c", bytes("x")));
        bucket.delete("c");
        check("value", bucket.get("a.b").getValueAsString().equals("2"));
        check("old value", bucket.get("a.b", first).getValueAsString().equals("1"));
        check("deleted", bucket.get("c") == null);
        for (String want : List.of("a.b 1", "a.b 2", "c x", "c ")) {
            KeyValueEntry e = seen.poll(10, TimeUnit.SECONDS);
            check("watched", e != null && want.equals(e.getKey() + " " + text(e.getValue())));
        }
        check("history", bucket.history("a.b").stream().map(KeyValueEntry::getValueAsString)
            .collect(Collectors.joining()).equals("12"));
        check("keys", bucket.keys().equals(List.of("a.b")));
        bucket.purge("a.b");
        check("status", bucket.getStatus().getEntryCount() == 3);
    }

    static void objects(Connection nc) throws Exception {
        nc.objectStoreManagement().create(ObjectStoreConfiguration.builder("files").build());
        ObjectStore store = nc.objectStore("files");
        byte[] body = new byte[300000];
        for (int k = 0; k < body.length; k++) body[k] = (byte) (k % 251);
        ObjectInfo info = store.put("big", new ByteArrayInputStream(body));
        check("chunks", info.getChunks() == 3 && info.getSize() == body.length);
        store.put("small", bytes("x"));
        ByteArrayOutputStream back = new ByteArrayOutputStream();
        store.get("big", back);
        check("body", Arrays.equals(back.toByteArray(), body));
        check("list", store.getList().stream().map(ObjectInfo::getObjectName).sorted()
            .collect(Collectors.joining(" ")).equals("big small"));
        store.delete("small");
        refused("deleted", () -> store.get("small", new ByteArrayOutputStream()));
        check("sealed", store.seal().isSealed());
    }

    static void service(Connection nc) throws Exception {
        Service s = Service.builder().connection(nc).name("doubler").version("1.0.0")
            .addServiceEndpoint(ServiceEndpoint.builder().endpointName("double")
                .handler(m -> m.respond(nc, text(m.getData()).repeat(2))).build())
            .build();
        s.startService();
        nc.flush(LONG);
        check("answer", text(nc.request("double", bytes("ab"), LONG).getData()).equals("abab"));
        Discovery found = new Discovery(nc, 10000, 1);
        check("ping", found.ping("doubler").size() == 1);
        check("info", found.info("doubler").size() == 1);
        EndpointStats stats = found.stats("doubler").get(0).getEndpointStatsList().get(0);
        check("stats", stats.getNumRequests() == 1);
        s.stop();
    }

    interface Case {
        void run(Connection nc) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("core", Interop::core);
        cases.put("publish", Interop::publish);
        cases.put("pull", Interop::pull);
        cases.put("push", Interop::push);
        cases.put("ordered", Interop::ordered);
        cases.put("keyValue", Interop::keyValue);
        cases.put("objects", Interop::objects);
        cases.put("service", Interop::service);
        Connection nc = Nats.connect(args[0]);
        for (Map.Entry<String, Case> c : cases.entrySet()) {
            try {
                c.getValue().run(nc);
            } catch (Throwable e) {
                System.err.println("Interop: " + c.getKey() + ": " + e);
                System.exit(1);
            }
            System.out.println("ok " + c.getKey());
        }
        nc.close();
        System.exit(0);
    }
}
