//! JSON to wire bytes and back: the transcoder's codec, pbjson's generated code, and
//! prost-reflect's dynamic messages. Each does the whole way, as a proxy has to.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic_transcoder::{Codec, MessageCodec};
use tonic_transcoder_bench::{DESCRIPTORS, device, devices};

/// A message in both forms, and the ways between them.
struct Case<'c> {
    size: &'static str,
    json: Vec<u8>,
    wire: Vec<u8>,
    codec: MessageCodec<'c>,
    descriptor: MessageDescriptor,
}

impl<'c> Case<'c> {
    fn new<M: Message + Serialize>(
        size: &'static str,
        name: &str,
        message: &M,
        codec: &'c Codec,
        pool: &DescriptorPool,
    ) -> Self {
        Self {
            size,
            json: serde_json::to_vec(message).unwrap(),
            wire: message.encode_to_vec(),
            codec: codec.message(name).unwrap(),
            descriptor: pool.get_message_by_name(name).unwrap(),
        }
    }

    fn read(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.json.len());
        self.codec
            .read_json(black_box(&self.json), &mut wire)
            .unwrap();
        wire
    }

    fn print(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(2 * self.wire.len());
        self.codec
            .write_json(black_box(&self.wire), &mut json)
            .unwrap();
        json
    }

    fn reflect_read(&self) -> Vec<u8> {
        let mut json = serde_json::Deserializer::from_slice(black_box(&self.json));
        DynamicMessage::deserialize(self.descriptor.clone(), &mut json)
            .unwrap()
            .encode_to_vec()
    }

    fn reflect_print(&self) -> Vec<u8> {
        let message = DynamicMessage::decode(self.descriptor.clone(), black_box(&self.wire[..]));
        serde_json::to_vec(&message.unwrap()).unwrap()
    }
}

fn pbjson_read<M: Message + DeserializeOwned>(json: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<M>(black_box(json))
        .unwrap()
        .encode_to_vec()
}

fn pbjson_print<M: Message + Serialize + Default>(wire: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&M::decode(black_box(wire)).unwrap()).unwrap()
}

/// Both directions of one case, each in three ways that must agree.
fn compare<M>(c: &mut Criterion, case: &Case<'_>)
where
    M: Message + Serialize + DeserializeOwned + Default,
{
    assert_eq!(case.read(), case.wire, "reads as prost writes");
    assert_eq!(case.reflect_read(), case.wire);
    assert_eq!(
        pbjson_read::<M>(&case.print()),
        case.wire,
        "what is printed is the same"
    );

    let mut group = c.benchmark_group(format!("read/{}", case.size));
    group.throughput(Throughput::Bytes(case.json.len() as u64));
    group.bench_function("transcoder", |b| b.iter(|| case.read()));
    group.bench_function("pbjson", |b| b.iter(|| pbjson_read::<M>(&case.json)));
    group.bench_function("prost-reflect", |b| b.iter(|| case.reflect_read()));
    group.finish();

    let mut group = c.benchmark_group(format!("print/{}", case.size));
    group.throughput(Throughput::Bytes(case.json.len() as u64));
    group.bench_function("transcoder", |b| b.iter(|| case.print()));
    group.bench_function("pbjson", |b| b.iter(|| pbjson_print::<M>(&case.wire)));
    group.bench_function("prost-reflect", |b| b.iter(|| case.reflect_print()));
    group.finish();
}

/// The time that `threads` threads need for `rounds` rounds of work together.
fn together(threads: u64, rounds: u64, work: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let rounds = rounds / threads + u64::from(thread < rounds % threads);
            let work = &work;
            scope.spawn(move || (0..rounds).for_each(|_| work()));
        }
    });
    start.elapsed()
}

/// The list in both directions, by one thread and by two.
fn scale(c: &mut Criterion, case: &Case<'_>) {
    let mut group = c.benchmark_group("threads");
    group.throughput(Throughput::Bytes(2 * case.json.len() as u64));
    for threads in [1, 2] {
        group.bench_function(format!("transcoder/{threads}"), |b| {
            b.iter_custom(|rounds| {
                together(threads, rounds, || {
                    black_box((case.read(), case.print()));
                })
            });
        });
        group.bench_function(format!("prost-reflect/{threads}"), |b| {
            b.iter_custom(|rounds| {
                together(threads, rounds, || {
                    black_box((case.reflect_read(), case.reflect_print()));
                })
            });
        });
    }
    group.finish();
}

fn json(c: &mut Criterion) {
    let codec = Codec::new(DESCRIPTORS).unwrap();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let small = Case::new("small", "fleet.v1.Device", &device(7), &codec, &pool);
    let list = Case::new("list", "fleet.v1.Devices", &devices(), &codec, &pool);
    compare::<tonic_transcoder_bench::fleet::Device>(c, &small);
    compare::<tonic_transcoder_bench::fleet::Devices>(c, &list);
    scale(c, &list);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = json
}
criterion_main!(benches);
