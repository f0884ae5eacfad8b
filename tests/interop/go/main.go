// The asynchronous publisher of the NATS documentation, against the server whose URL is the argument: one million messages, all
// acknowledged, all counted by a consumer.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const messages = 1_000_000

func fail(what string, err error) {
	fmt.Fprintln(os.Stderr, what+":", err)
	os.Exit(1)
}

func publish(js nats.JetStreamContext) {
	if _, err := js.AddStream(&nats.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		fail("AddStream", err)
	}
	began := time.Now()
	for i := 0; i < messages; i++ {
		if _, err := js.PublishAsync("orders.new", []byte("hello")); err != nil {
			fail("PublishAsync", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(120 * time.Second):
		fail("PublishAsyncComplete", fmt.Errorf("%d pending", js.PublishAsyncPending()))
	}
	fmt.Printf("%d messages published and acknowledged in %v\n", messages, time.Since(began).Round(time.Millisecond))
}

func count(js nats.JetStreamContext) {
	sub, err := js.PullSubscribe("orders.>", "counter")
	if err != nil {
		fail("PullSubscribe", err)
	}
	began := time.Now()
	seen := 0
	for seen < messages {
		batch, err := sub.Fetch(500, nats.MaxWait(10*time.Second))
		if err != nil {
			fail(fmt.Sprintf("Fetch after %d", seen), err)
		}
		for _, m := range batch {
			meta, err := m.Metadata()
			if err != nil {
				fail("Metadata", err)
			}
			seen++
			if meta.Sequence.Stream != uint64(seen) {
				fail("order", fmt.Errorf("message %d has sequence %d", seen, meta.Sequence.Stream))
			}
			m.Ack()
		}
	}
	fmt.Printf("%d messages consumed and acknowledged in %v\n", seen, time.Since(began).Round(time.Millisecond))
}

func main() {
	nc, err := nats.Connect(os.Args[1])
	if err != nil {
		fail("Connect", err)
	}
	defer nc.Close()
	js, err := nc.JetStream(nats.PublishAsyncMaxPending(4096))
	if err != nil {
		fail("JetStream", err)
	}
	publish(js)
	count(js)
}
