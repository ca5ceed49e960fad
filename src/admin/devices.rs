//! `muster admin device-limit`: on the database of the device registry itself,
//! whether servers run or not.

use chassis::Clock;
use chassis::caller::TenantId;
use chassis::peer::ServiceName;
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::keys::shown;
use super::target::Target;
use crate::client::out::Output;
use crate::config::Problems;

#[derive(Args)]
#[command(after_help = "\
Examples:
  muster admin device-limit 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 1000 --data muster-data
  muster admin device-limit 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 none --database-url postgres://muster_registry@db/muster

It counts at once, also for servers that run. Devices that are there already stay.")]
pub(super) struct DeviceLimit {
    /// The tenant, by its id
    tenant: Uuid,
    /// How many devices it may have; `none`: any number
    #[arg(value_parser = limit)]
    limit: Limit,
    #[command(flatten)]
    database: Target,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy)]
struct Limit(Option<i64>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        text => text
            .parse::<u32>()
            .map(|limit| Limit(Some(limit.into())))
            .map_err(|_| "must be a number, or `none`".to_owned()),
    }
}

impl DeviceLimit {
    pub(super) async fn run(self) -> Result<(), Problems> {
        let (name, clock) = (ServiceName::DeviceRegistry, Clock::system());
        let store = self.database.store(name, &clock).await?;
        let tenant = TenantId(self.tenant);
        let count = device_registry::admin::set_device_limit(&store, tenant, self.limit.0).await?;
        let limit = match self.limit.0 {
            Some(limit) => format!("at most {limit} devices"),
            None => "any number of devices".to_owned(),
        };
        let sentence = format!("Tenant {} may have {limit}; it has {count}", self.tenant);
        let json = json!({"deviceCount": count, "deviceLimit": self.limit.0});
        shown(self.output.said(&sentence, &json))
    }
}
