//! `muster key list`.

use chassis::{Clock, time::timestamp};
use clap::{Args, ValueEnum};
use proto::keys::ListApiKeysRequest;
use proto::keys::api_key::State;

use super::client;
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::{out, parse};

const EXAMPLES: &str = "Examples:
  muster key list --expires-before 14d              which keys to rotate soon
  muster key list --unused-since 90d                which keys nobody seems to need
  muster key list --foreign                         which keys are still those of another system
  muster key list --state revoked --creator user:0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Which keys.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct List {
    /// Show revoked keys as well
    #[arg(long)]
    all: bool,
    /// Only keys in this state
    #[arg(long, value_enum)]
    state: Option<KeyState>,
    /// Only keys that this one created, such as user:ID
    #[arg(
        long,
        value_name = "PRINCIPAL",
        default_value_t,
        hide_default_value = true
    )]
    creator: String,
    /// Only keys that this one owns, such as user:ID
    #[arg(
        long,
        value_name = "PRINCIPAL",
        default_value_t,
        hide_default_value = true
    )]
    owner: String,
    /// Only keys that expire before then, or have: a span such as 14d, or a time
    #[arg(long, value_name = "END", value_parser = parse::when)]
    expires_before: Option<parse::When>,
    /// Only keys that were not used since then, or never: a span such as 90d, or a time
    #[arg(long, value_name = "START", value_parser = parse::when)]
    unused_since: Option<parse::When>,
    /// Only keys that a secret of another system still opens
    #[arg(long)]
    foreign: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyState {
    Active,
    Expired,
    Revoked,
    Disabled,
}

impl From<KeyState> for State {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Active => Self::Active,
            KeyState::Expired => Self::Expired,
            KeyState::Revoked => Self::Revoked,
            KeyState::Disabled => Self::Disabled,
        }
    }
}

pub(super) async fn list(options: &Options, list: List) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let now = Clock::system().now();
    let filter = ListApiKeysRequest {
        show_revoked: list.all,
        state: list.state.map_or(State::Unspecified, State::from).into(),
        creator: list.creator,
        owner: list.owner,
        expire_before: list.expires_before.map(|end| timestamp(end.after(now))),
        unused_since: list.unused_since.map(|start| timestamp(start.before(now))),
        foreign: list.foreign,
        ..Default::default()
    };
    let keys = out::pages(None, async |page_size, page_token| {
        let request = ListApiKeysRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let page = client.list_api_keys(request).await?.into_inner();
        Ok((page.api_keys, page.next_page_token))
    });
    options.server.output.list(&keys.await?)
}
