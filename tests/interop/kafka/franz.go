// franz.go: franz-go against our listener: idempotent produce with every codec, a transactional copy
// by three members that come and go, groups of the new protocol.
//
//	franz BROKER       prints "ok <case>" per case
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const records = 20000

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func client(options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(os.Args[1]))...)
	must(err)
	return c
}

// Every value once, in the order of the keys, of what is committed.
func check(ctx context.Context, topic string) {
	c := client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	seen := make(map[string]bool)
	for len(seen) < records {
		f := c.PollFetches(ctx)
		must(f.Err())
		f.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Value)] {
				must(fmt.Errorf("%s twice in %s", r.Value, topic))
			}
			seen[string(r.Value)] = true
		})
	}
}

// One member: copies until all is copied, or only some.
func copier(ctx context.Context, group, from, to string, id int, limit int64, copied *int64) {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(os.Args[1]),
		kgo.TransactionalID(fmt.Sprintf("%s-%d", group, id)), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DefaultProduceTopic(to))
	must(err)
	defer s.Close()
	for own := int64(0); atomic.LoadInt64(copied) < records && own < limit; {
		poll, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		f := s.PollRecords(poll, 1000)
		cancel()
		if f.NumRecords() == 0 {
			must(ctx.Err())
			continue
		}
		must(s.Begin())
		f.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, kgo.KeySliceRecord(r.Key, r.Value), nil)
		})
		done, err := s.End(ctx, kgo.TryCommit)
		must(err)
		if done {
			own += int64(f.NumRecords())
			atomic.AddInt64(copied, int64(f.NumRecords()))
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	admin := kadm.NewClient(client())
	defer admin.Close()
	_, err := admin.CreateTopics(ctx, 5, 1, nil, "franz.in", "franz.out")
	must(err)

	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(),
		kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for i, codec := range codecs {
		c := client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("franz.in"))
		for n := i * records / len(codecs); n < (i+1)*records/len(codecs); n++ {
			c.Produce(ctx, kgo.KeyStringRecord(fmt.Sprint(n%100), fmt.Sprint(n)),
				func(_ *kgo.Record, err error) { must(err) })
		}
		must(c.Flush(ctx))
		c.Close()
	}
	check(ctx, "franz.in")
	fmt.Println("ok franz-go: idempotent, every codec")

	var copied int64
	var all sync.WaitGroup
	for i, limit := range []int64{records, 3000, records} {
		all.Add(1)
		go func() {
			defer all.Done()
			copier(ctx, "franz.copy", "franz.in", "franz.out", i, limit, &copied)
		}()
	}
	all.Wait()
	check(ctx, "franz.out")
	fmt.Println("ok franz-go: copied in transactions by members that come and go")

	next := context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	c := client(kgo.WithContext(next), kgo.ConsumerGroup("franz.new"), kgo.ConsumeTopics("franz.out"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < records; {
		f := c.PollFetches(ctx)
		must(f.Err())
		n += f.NumRecords()
	}
	must(c.CommitUncommittedOffsets(ctx))
	c.Close()
	offsets, err := admin.FetchOffsets(ctx, "franz.new")
	must(err)
	if len(offsets.Offsets()["franz.out"]) != 5 {
		must(fmt.Errorf("committed: %v", offsets))
	}
	fmt.Println("ok franz-go: a group of the new protocol")
	_, err = admin.DeleteGroups(ctx, "franz.new", "franz.copy")
	must(err)
	_, err = admin.DeleteTopics(ctx, "franz.in", "franz.out")
	must(err)
	fmt.Println("ok franz-go: administration")
}
