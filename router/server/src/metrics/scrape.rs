//! What a scrape of the metrics reads: the counters, and what others know anyway (clients, pools, servers), which is asked
//! of them then.

use super::Metrics;
use crate::admin::{PoolView, Source};
use crate::health::{Health, ServerHealth, ServerRole};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a scrape reads.
pub struct Scrape {
    pub metrics: Arc<Metrics>,
    pub health: Health,
    pub source: Arc<dyn Source>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

/// A registry whose families all begin with `shardgate_`.
pub fn registry(scrape: Scrape) -> Registry {
    let mut registry = Registry::with_prefix("shardgate");
    registry.register_collector(Box::new(scrape));
    registry
}

type Labels = Vec<(String, String)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, counter) in self.metrics.counters() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&counter.value(), None)?;
        }
        for (name, help, times) in self.metrics.times() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            let buckets = times.buckets();
            // The count is that of the buckets read here, so that the two agree.
            let count = buckets.iter().map(|(_, n)| n).sum();
            #[allow(clippy::cast_precision_loss)]
            let sum = times.sum_us() as f64 / 1e6;
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        self.encode_state(&mut encoder)?;
        self.encode_servers(&mut encoder)
    }
}

/// One gauge: name, help, and a value for each set of labels.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(Labels, i64)],
) -> fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        let labels: Labels = labels
            .iter()
            .map(|(k, v)| (k.clone(), escaped(v)))
            .collect();
        if labels.is_empty() {
            metric.encode_gauge(value)?;
        } else {
            metric.encode_family(&labels)?.encode_gauge(value)?;
        }
    }
    Ok(())
}

/// A label's value as the format wants it; the encoder writes it as it is, and role names are other people's text.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn signed(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

impl Scrape {
    fn encode_state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let catalog = self.source.catalog();
        let one = |value: i64| vec![(Vec::new(), value)];
        gauge(
            encoder,
            "catalog_epoch",
            "The epoch in use",
            &one(signed(catalog.epoch)),
        )?;
        gauge(
            encoder,
            "catalog_connected",
            "1 if the catalog can be reached",
            &one(i64::from(catalog.connected)),
        )?;
        gauge(
            encoder,
            "held_clients",
            "Clients whose statement waits because its rows change hands",
            &one(signed(self.metrics.held_clients.value())),
        )?;
        let clients = self.source.clients();
        let mut states: BTreeMap<String, i64> = BTreeMap::new();
        for client in &clients {
            *states.entry(client.state.clone()).or_default() += 1;
        }
        let states: Vec<_> = states
            .into_iter()
            .map(|(state, n)| (vec![("state".to_owned(), state)], n))
            .collect();
        gauge(encoder, "clients", "Clients by state", &states)?;
        let pools = self.source.pools();
        let family = |pick: fn(&PoolView) -> usize| -> Vec<(Labels, i64)> {
            let labels = |p: &PoolView| {
                vec![
                    ("shard".to_owned(), p.shard.clone()),
                    ("host".to_owned(), format!("{}:{}", p.host, p.port)),
                    ("user".to_owned(), p.user.clone()),
                ]
            };
            pools.iter().map(|p| (labels(p), signed(pick(p)))).collect()
        };
        gauge(
            encoder,
            "pool_active",
            "Server connections in use",
            &family(|p| p.sv_active),
        )?;
        gauge(
            encoder,
            "pool_idle",
            "Server connections that are free",
            &family(|p| p.sv_idle),
        )?;
        gauge(
            encoder,
            "pool_waiting",
            "Clients that wait for a connection",
            &family(|p| p.cl_waiting),
        )
    }

    fn encode_servers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let servers = self.health.servers();
        let labels = |s: &ServerHealth| -> Labels {
            vec![
                ("shard".to_owned(), s.shard.0.to_string()),
                ("host".to_owned(), format!("{}:{}", s.host, s.port)),
            ]
        };
        let up: Vec<_> = servers
            .iter()
            .map(|s| {
                let mut labels = labels(s);
                labels.push(("role".to_owned(), s.role.as_str().to_owned()));
                (labels, i64::from(s.id.is_some()))
            })
            .collect();
        gauge(encoder, "server_up", "1 if the server answers", &up)?;
        let lags: Vec<_> = servers
            .iter()
            .filter_map(|s| Some((labels(s), signed(s.lag_bytes?))))
            .collect();
        gauge(
            encoder,
            "replica_lag_bytes",
            "WAL that the replica has not replayed",
            &lags,
        )?;
        let lags: Vec<_> = servers
            .iter()
            .filter_map(|s| Some((labels(s), signed(s.lag?.as_millis()))))
            .collect();
        gauge(
            encoder,
            "replica_lag_milliseconds",
            "Age of what the replica has not replayed",
            &lags,
        )?;
        let usable: Vec<_> = servers
            .iter()
            .filter(|s| s.role == ServerRole::Replica)
            .map(|s| (labels(s), i64::from(s.usable)))
            .collect();
        gauge(
            encoder,
            "replica_usable",
            "1 if reads may go to the replica",
            &usable,
        )
    }
}

/// What `/metrics` answers: the OpenMetrics text format.
pub fn render(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}
