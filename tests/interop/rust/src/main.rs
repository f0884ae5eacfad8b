//! async-nats against the server whose URL is the argument. Prints a line per case that held.
use async_nats::jetstream::consumer::{pull, AckPolicy, DeliverPolicy};
use async_nats::jetstream::{self, kv, object_store, stream, AckKind};
use async_nats::service::ServiceExt;
use async_nats::{Client, HeaderMap};
use futures::{StreamExt, TryStreamExt};
use std::time::Duration;
use tokio::io::AsyncReadExt;

const MESSAGES: usize = 2000;

type Outcome = Result<(), async_nats::Error>;

fn check(what: &str, condition: bool) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(what.to_string().into())
    }
}

async fn core(nc: &Client) -> Outcome {
    let mut sub = nc.subscribe("core.*").await?;
    let mut headers = HeaderMap::new();
    headers.insert("X", "y");
    nc.publish_with_headers("core.a", headers, "1".into()).await?;
    let m = sub.next().await.ok_or("no message")?;
    let header = m.headers.as_ref().and_then(|h| h.get("X")).map(|v| v.as_str().to_string());
    check("message", m.payload == "1" && header.as_deref() == Some("y"))?;
    sub.unsubscribe().await?;

    let counts: [std::sync::Arc<std::sync::atomic::AtomicUsize>; 2] = Default::default();
    for count in &counts {
        let mut member = nc.queue_subscribe("core.queue", "q".into()).await?;
        let (nc, count) = (nc.clone(), count.clone());
        tokio::spawn(async move {
            while let Some(m) = member.next().await {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let _ = nc.publish(m.reply.unwrap(), m.payload.to_ascii_uppercase().into()).await;
            }
        });
    }
    nc.flush().await?;
    for _ in 0..50 {
        check("answer", nc.request("core.queue", "hello".into()).await?.payload == "HELLO")?;
    }
    let asked: Vec<usize> =
        counts.iter().map(|c| c.load(std::sync::atomic::Ordering::Relaxed)).collect();
    check("each member was asked", asked[0] > 0 && asked[1] > 0 && asked[0] + asked[1] == 50)?;
    let e = nc.request("core2.nobody", "".into()).await.err().ok_or("nobody answered")?;
    check("no responders", e.kind() == async_nats::RequestErrorKind::NoResponders)
}

async fn publish(nc: &Client) -> Outcome {
    let js = jetstream::new(nc.clone());
    let mut orders = js
        .create_stream(stream::Config {
            name: "ORDERS".into(),
            subjects: vec!["orders.>".into()],
            ..Default::default()
        })
        .await?;
    let mut acks = Vec::new();
    for k in 0..MESSAGES {
        acks.push(js.publish(format!("orders.{}", k % 4), k.to_string().into()).await?);
    }
    for (k, ack) in acks.into_iter().enumerate() {
        check("sequences", ack.await?.sequence == k as u64 + 1)?;
    }
    let with_id = || jetstream::message::PublishMessage::build().message_id("one");
    let first = js.send_publish("orders.id", with_id()).await?.await?;
    let again = js.send_publish("orders.id", with_id()).await?.await?;
    check("duplicate", again.duplicate && again.sequence == first.sequence)?;
    let wrong = jetstream::message::PublishMessage::build().expected_last_sequence(5);
    let refused = js.send_publish("orders.x", wrong).await?.await;
    check("expected", refused.is_err())?;
    check("state", orders.info().await?.state.messages == MESSAGES as u64 + 1)?;
    let subjects: Vec<(String, usize)> =
        orders.info_with_subjects("orders.1").await?.try_collect().await?;
    check("subjects", subjects == [("orders.1".to_string(), MESSAGES / 4)])?;
    let last = orders.get_last_raw_message_by_subject("orders.3").await?;
    check("last", last.payload == (MESSAGES - 1).to_string())?;
    let names: Vec<String> = js.stream_names().try_collect().await?;
    check("names", names == ["ORDERS"])
}

fn filtered(name: &str, filter: &str, max_ack_pending: i64) -> pull::Config {
    pull::Config {
        durable_name: Some(name.into()),
        ack_policy: AckPolicy::Explicit,
        filter_subject: filter.into(),
        max_ack_pending,
        ..Default::default()
    }
}

async fn pull(nc: &Client) -> Outcome {
    let js = jetstream::new(nc.clone());
    let orders = js.get_stream("ORDERS").await?;
    let puller = orders.create_consumer(filtered("puller", "orders.1", 0)).await?;
    let mut seen = 0;
    while seen < MESSAGES / 8 {
        let mut batch = puller.fetch().max_messages(50).messages().await?;
        while let Some(m) = batch.next().await {
            let m = m?;
            check("order", m.payload == (seen * 4 + 1).to_string())?;
            m.ack().await?;
            seen += 1;
        }
    }
    let mut messages = puller.messages().await?;
    while seen < MESSAGES / 4 {
        let m = messages.next().await.ok_or("ended")??;
        check("order", m.payload == (seen * 4 + 1).to_string())?;
        m.ack().await?;
        seen += 1;
    }
    let mut naks = orders.create_consumer(filtered("naks", "orders.2", 1)).await?;
    let m = naks.messages().await?.next().await.ok_or("nothing")??;
    m.ack_with(AckKind::Nak(None)).await?;
    let m = naks.messages().await?.next().await.ok_or("not again")??;
    check("again", m.payload == "2" && m.info()?.delivered == 2)?;
    m.double_ack().await?;
    check("floor", naks.info().await?.ack_floor.consumer_sequence == 2)
}

async fn ordered(nc: &Client) -> Outcome {
    let js = jetstream::new(nc.clone());
    let consumer = js
        .get_stream("ORDERS")
        .await?
        .create_consumer(pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..Default::default()
        })
        .await?;
    let mut messages = consumer.messages().await?.take(MESSAGES);
    let mut seen = 0;
    while let Some(m) = messages.next().await {
        check("ordered", m?.payload == seen.to_string())?;
        seen += 1;
    }
    check("all", seen == MESSAGES)
}

async fn key_value(nc: &Client) -> Outcome {
    let js = jetstream::new(nc.clone());
    let bucket = js
        .create_key_value(kv::Config { bucket: "conf".into(), history: 5, ..Default::default() })
        .await?;
    let mut watch = bucket.watch_all().await?;
    let first = bucket.put("a.b", "1".into()).await?;
    check("update", bucket.update("a.b", "2".into(), first).await? == first + 1)?;
    check("wrong revision", bucket.update("a.b", "3".into(), first).await.is_err())?;
    bucket.create("c", "x".into()).await?;
    check("exists", bucket.create("c", "x".into()).await.is_err())?;
    bucket.delete("c").await?;
    check("value", bucket.get("a.b").await?.as_deref() == Some(b"2"))?;
    check("deleted", bucket.get("c").await?.is_none())?;
    let old = bucket.entry_for_revision("a.b", first).await?.ok_or("no old entry")?;
    check("old value", old.value == "1")?;
    for want in [("a.b", "1"), ("a.b", "2"), ("c", "x"), ("c", "")] {
        let e = watch.next().await.ok_or("watch ended")??;
        check("watched", e.key == want.0 && e.value == want.1)?;
    }
    let history: Vec<kv::Entry> = bucket.history("a.b").await?.try_collect().await?;
    check("history", history.len() == 2 && history[0].value == "1")?;
    let keys: Vec<String> = bucket.keys().await?.try_collect().await?;
    check("keys", keys == ["a.b"])?;
    bucket.purge("a.b").await?;
    check("status", bucket.status().await?.bucket() == "conf")
}

async fn objects(nc: &Client) -> Outcome {
    let js = jetstream::new(nc.clone());
    let store = js
        .create_object_store(object_store::Config { bucket: "files".into(), ..Default::default() })
        .await?;
    let body: Vec<u8> = (0..300_000u32).map(|k| (k % 251) as u8).collect();
    let info = store.put("big", &mut body.as_slice()).await?;
    check("size", info.size == body.len())?;
    store.put("small", &mut b"x".as_slice()).await?;
    let mut back = Vec::new();
    store.get("big").await?.read_to_end(&mut back).await?;
    check("body", back == body)?;
    let mut names: Vec<String> = store.list().await?.map_ok(|o| o.name).try_collect().await?;
    names.sort();
    check("list", names == ["big", "small"])?;
    store.delete("small").await?;
    check("deleted", store.get("small").await.is_err())?;
    let mut store = store;
    store.seal().await?;
    check("sealed", store.put("more", &mut b"x".as_slice()).await.is_err())
}

async fn service(nc: &Client) -> Outcome {
    let s = nc.service_builder().start("doubler", "1.0.0").await?;
    let mut endpoint = s.endpoint("double").await?;
    tokio::spawn(async move {
        while let Some(request) = endpoint.next().await {
            let twice = request.message.payload.repeat(2);
            let _ = request.respond(Ok(twice.into())).await;
        }
    });
    check("answer", nc.request("double", "ab".into()).await?.payload == "abab")?;
    for ask in ["PING", "INFO", "STATS"] {
        let answer = nc.request(format!("$SRV.{ask}.doubler"), "".into()).await?;
        check(ask, String::from_utf8_lossy(&answer.payload).contains("\"name\":\"doubler\""))?;
    }
    s.stop().await?;
    Ok(())
}

fn fail(case: &str, why: &str) -> ! {
    eprintln!("interop: {case}: {why}");
    std::process::exit(1)
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let nc = async_nats::connect(url).await.expect("a connection");
    macro_rules! run {
        ($($case:ident),*) => {$(
            match tokio::time::timeout(Duration::from_secs(60), $case(&nc)).await {
                Ok(Ok(())) => println!("ok {}", stringify!($case)),
                Ok(Err(e)) => fail(stringify!($case), &e.to_string()),
                Err(_) => fail(stringify!($case), "took too long"),
            }
        )*};
    }
    run!(core, publish, pull, ordered, key_value, objects, service);
}
