// nats.go, its jetstream and micro packages, against the server whose URL is the argument. Prints a line per case that held.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

const messages = 2000
const long = 10 * time.Second

func check(what string, condition bool) {
	if !condition {
		fmt.Fprintln(os.Stderr, "features:", what)
		os.Exit(1)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func core(_ context.Context, nc *nats.Conn) {
	sub := must(nc.SubscribeSync("core.*"))
	out := nats.NewMsg("core.a")
	out.Header.Set("X", "y")
	out.Data = []byte("1")
	check("publish", nc.PublishMsg(out) == nil)
	m := must(sub.NextMsg(long))
	check("message", string(m.Data) == "1" && m.Header.Get("X") == "y")
	sub.Unsubscribe()
	var got [2]atomic.Int32
	for k := range got {
		must(nc.QueueSubscribe("core.queue", "q", func(m *nats.Msg) {
			got[k].Add(1)
			m.Respond(bytes.ToUpper(m.Data))
		}))
	}
	for k := 0; k < 50; k++ {
		check("answer", string(must(nc.Request("core.queue", []byte("hello"), long)).Data) == "HELLO")
	}
	check("each member was asked", got[0].Load() > 0 && got[1].Load() > 0 && got[0].Load()+got[1].Load() == 50)
	_, err := nc.Request("core2.nobody", nil, long)
	check("no responders", errors.Is(err, nats.ErrNoResponders))
}

func publish(ctx context.Context, nc *nats.Conn) {
	js := must(jetstream.New(nc))
	s := must(js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}))
	var acks []jetstream.PubAckFuture
	for k := 0; k < messages; k++ {
		acks = append(acks, must(js.PublishAsync(fmt.Sprintf("orders.%d", k%4), []byte(fmt.Sprint(k)))))
	}
	for k, a := range acks {
		select {
		case ack := <-a.Ok():
			check("sequences", ack.Sequence == uint64(k+1))
		case err := <-a.Err():
			panic(err)
		case <-ctx.Done():
			panic(ctx.Err())
		}
	}
	first := must(js.Publish(ctx, "orders.id", nil, jetstream.WithMsgID("one")))
	again := must(js.Publish(ctx, "orders.id", nil, jetstream.WithMsgID("one")))
	check("duplicate", again.Duplicate && again.Sequence == first.Sequence)
	_, err := js.Publish(ctx, "orders.x", nil, jetstream.WithExpectLastSequence(5))
	var api *jetstream.APIError
	check("expected", errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence)
	info := must(s.Info(ctx, jetstream.WithSubjectFilter("orders.1")))
	check("state", info.State.Msgs == messages+1 && info.State.Subjects["orders.1"] == messages/4)
	check("last", string(must(s.GetLastMsgForSubject(ctx, "orders.3")).Data) == fmt.Sprint(messages-1))
	names := js.StreamNames(ctx)
	check("names", <-names.Name() == "ORDERS")
}

func pull(ctx context.Context, nc *nats.Conn) {
	js := must(jetstream.New(nc))
	c := must(js.CreateOrUpdateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{Durable: "puller",
		FilterSubject: "orders.1", AckPolicy: jetstream.AckExplicitPolicy}))
	seen := 0
	for seen < messages/8 {
		batch := must(c.Fetch(50))
		for m := range batch.Messages() {
			check("order", string(m.Data()) == fmt.Sprint(seen*4+1))
			m.Ack()
			seen++
		}
		check("batch", batch.Error() == nil)
	}
	it := must(c.Messages())
	for ; seen < messages/4; seen++ {
		m := must(it.Next())
		check("order", string(m.Data()) == fmt.Sprint(seen*4+1))
		m.Ack()
	}
	it.Stop()
	_, err := c.Next(jetstream.FetchMaxWait(time.Second))
	check("end", err != nil)

	n := must(js.CreateOrUpdateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{Durable: "naks",
		FilterSubject: "orders.2", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1}))
	must(n.Next()).Nak()
	m := must(n.Next())
	check("again", string(m.Data()) == "2" && must(m.Metadata()).NumDelivered == 2)
	check("double ack", m.DoubleAck(ctx) == nil)
	check("floor", must(n.Info(ctx)).AckFloor.Consumer == 2)
	check("paused", must(js.PauseConsumer(ctx, "ORDERS", "naks", time.Now().Add(time.Hour))).Paused)
	check("resumed", !must(js.ResumeConsumer(ctx, "ORDERS", "naks")).Paused)
}

func ordered(ctx context.Context, nc *nats.Conn) {
	js := must(jetstream.New(nc))
	c := must(js.OrderedConsumer(ctx, "ORDERS", jetstream.OrderedConsumerConfig{}))
	it := must(c.Messages())
	for k := 0; k < messages; k++ {
		check("ordered", string(must(it.Next()).Data()) == fmt.Sprint(k))
	}
	it.Stop()
}

func kv(ctx context.Context, nc *nats.Conn) {
	js := must(jetstream.New(nc))
	bucket := must(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "conf", History: 5}))
	watch := must(bucket.WatchAll(ctx))
	check("empty", <-watch.Updates() == nil)
	first := must(bucket.PutString(ctx, "a.b", "1"))
	check("update", must(bucket.Update(ctx, "a.b", []byte("2"), first)) == first+1)
	_, err := bucket.Update(ctx, "a.b", []byte("3"), first)
	check("wrong revision", err != nil)
	must(bucket.Create(ctx, "c", []byte("x")))
	_, err = bucket.Create(ctx, "c", []byte("x"))
	check("exists", errors.Is(err, jetstream.ErrKeyExists))
	check("delete", bucket.Delete(ctx, "c") == nil)
	check("value", string(must(bucket.Get(ctx, "a.b")).Value()) == "2")
	check("old value", string(must(bucket.GetRevision(ctx, "a.b", first)).Value()) == "1")
	_, err = bucket.Get(ctx, "c")
	check("deleted", errors.Is(err, jetstream.ErrKeyNotFound))
	for _, want := range []string{"a.b 1", "a.b 2", "c x", "c "} {
		e := <-watch.Updates()
		check("watched", e.Key()+" "+string(e.Value()) == want)
	}
	check("history", len(must(bucket.History(ctx, "a.b"))) == 2)
	check("keys", strings.Join(must(bucket.Keys(ctx)), " ") == "a.b")
	check("purge", bucket.Purge(ctx, "a.b") == nil)
	check("status", must(bucket.Status(ctx)).Values() == 3)
}

func objects(ctx context.Context, nc *nats.Conn) {
	js := must(jetstream.New(nc))
	store := must(js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "files"}))
	body := make([]byte, 300000)
	for k := range body {
		body[k] = byte(k % 251)
	}
	info := must(store.PutBytes(ctx, "big", body))
	check("chunks", info.Chunks == 3 && info.Size == uint64(len(body)))
	must(store.PutString(ctx, "small", "x"))
	check("body", bytes.Equal(must(store.GetBytes(ctx, "big")), body))
	var names []string
	for _, o := range must(store.List(ctx)) {
		names = append(names, o.Name)
	}
	sort.Strings(names)
	check("list", strings.Join(names, " ") == "big small")
	check("delete", store.Delete(ctx, "small") == nil)
	_, err := store.GetBytes(ctx, "small")
	check("deleted", errors.Is(err, jetstream.ErrObjectNotFound))
	check("seal", store.Seal(ctx) == nil && must(store.Status(ctx)).Sealed())
}

func service(_ context.Context, nc *nats.Conn) {
	s := must(micro.AddService(nc, micro.Config{Name: "doubler", Version: "1.0.0"}))
	check("endpoint", s.AddEndpoint("double", micro.HandlerFunc(func(r micro.Request) {
		r.Respond(bytes.Repeat(r.Data(), 2))
	})) == nil)
	check("answer", string(must(nc.Request("double", []byte("ab"), long)).Data) == "abab")
	for _, ask := range []string{"PING", "INFO", "STATS"} {
		answer := must(nc.Request("$SRV."+ask+".doubler", nil, long))
		check(ask, strings.Contains(string(answer.Data), `"name":"doubler"`))
	}
	check("requests", s.Stats().Endpoints[0].NumRequests == 1)
	check("stop", s.Stop() == nil)
}

func main() {
	nc := must(nats.Connect(os.Args[1]))
	for _, c := range []struct {
		name string
		run  func(context.Context, *nats.Conn)
	}{{"core", core}, {"publish", publish}, {"pull", pull}, {"ordered", ordered}, {"kv", kv}, {"objects", objects},
		{"service", service}} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		late := time.AfterFunc(time.Minute, func() { check(c.name+" took too long", false) })
		c.run(ctx, nc)
		late.Stop()
		cancel()
		fmt.Println("ok", c.name)
	}
	nc.Close()
}
