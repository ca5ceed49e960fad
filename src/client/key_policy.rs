//! `muster key-policy`: what the keys of the tenant may be.

use chrono::TimeDelta;
use clap::{Args, Subcommand, ValueEnum};
use proto::keys::key_policy::LeakAction;
use proto::keys::key_policy_service_client::KeyPolicyServiceClient;
use proto::keys::{GetKeyPolicyRequest, KeyPolicy, UpdateKeyPolicyRequest};
use serde_json::{Value, json};

use super::failure::Failure;
use super::mask::mask;
use super::options::Options;
use super::out::{self, Show};
use super::parse;

const EXAMPLES: &str = "Examples:
  muster key-policy show
  muster key-policy set --max-life 90d --expiry-required true --max-overlap 7d
  muster key-policy set --permission devices.read,devices.write --leak-action disable
  muster key-policy set --max-life none --any-permission";

/// What the keys of the tenant may be.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Policies {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Show the policy
    Show,
    /// Change the policy; keys that exist stay as they are
    Set(Set),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Set {
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// The longest life of a key from its creation: a span such as 90d, or none
    #[arg(long, value_name = "SPAN", value_parser = parse::bound)]
    max_life: Option<parse::Bound>,
    /// Whether every key must expire
    #[arg(long)]
    expiry_required: Option<bool>,
    /// All that keys may allow. May be repeated
    #[arg(long = "permission", value_delimiter = ',', value_parser = parse::permission())]
    permissions: Option<Vec<String>>,
    /// Let keys allow whatever their creators hold
    #[arg(long, conflicts_with = "permissions")]
    any_permission: bool,
    /// How long an old secret may work beside a new one: a span such as 7d, or none
    #[arg(long, value_name = "SPAN", value_parser = parse::bound)]
    max_overlap: Option<parse::Bound>,
    /// What happens to a key that is reported as found where it should not be
    #[arg(long, value_enum)]
    leak_action: Option<OnLeak>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnLeak {
    /// It is recorded, and the key goes on
    Notify,
    /// The key is disabled
    Disable,
    /// The key is revoked
    Revoke,
}

impl From<OnLeak> for LeakAction {
    fn from(action: OnLeak) -> Self {
        match action {
            OnLeak::Notify => Self::Notify,
            OnLeak::Disable => Self::Disable,
            OnLeak::Revoke => Self::Revoke,
        }
    }
}

impl Changes {
    fn request(self) -> UpdateKeyPolicyRequest {
        let mask = mask([
            ("max_life", self.max_life.is_some()),
            ("expiry_required", self.expiry_required.is_some()),
            (
                "allowed_permissions",
                self.permissions.is_some() || self.any_permission,
            ),
            ("max_overlap", self.max_overlap.is_some()),
            ("leak_action", self.leak_action.is_some()),
        ]);
        let span = |bound: Option<parse::Bound>| -> Option<TimeDelta> {
            bound.and_then(|parse::Bound(span)| span)
        };
        let action = self.leak_action.map_or(LeakAction::Unspecified, Into::into);
        let policy = KeyPolicy {
            max_life: span(self.max_life).map(parse::duration),
            expiry_required: self.expiry_required.unwrap_or_default(),
            allowed_permissions: self.permissions.unwrap_or_default(),
            max_overlap: span(self.max_overlap).map(parse::duration),
            leak_action: action.into(),
            update_time: None,
        };
        UpdateKeyPolicyRequest {
            key_policy: Some(policy),
            update_mask: Some(mask),
        }
    }
}

impl Policies {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut client = KeyPolicyServiceClient::new(self.options.connect().await?);
        let policy = match self.action {
            Action::Show => client.get_key_policy(GetKeyPolicyRequest {}).await?,
            Action::Set(set) => client.update_key_policy(set.changes.request()).await?,
        };
        self.options.server.output.one(&policy.into_inner())
    }
}

impl Show for KeyPolicy {
    const COLUMNS: &'static [&'static str] = &[
        "LONGEST LIFE",
        "EXPIRY REQUIRED",
        "PERMISSIONS",
        "LONGEST OVERLAP",
        "ON LEAK",
        "CHANGED",
    ];

    fn cells(&self) -> Vec<String> {
        let required = if self.expiry_required { "yes" } else { "no" };
        let permissions = match &self.allowed_permissions[..] {
            [] => "any".to_owned(),
            permissions => permissions.join(" "),
        };
        let action = match self.leak_action() {
            LeakAction::Notify => "notify",
            LeakAction::Disable => "disable",
            LeakAction::Unspecified | LeakAction::Revoke => "revoke",
        };
        vec![
            out::span_or(self.max_life.as_ref(), "any"),
            required.to_owned(),
            permissions,
            out::span_or(self.max_overlap.as_ref(), "365d"),
            action.to_owned(),
            out::time_or(self.update_time.as_ref(), "never"),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "maxLife": out::json_span(self.max_life.as_ref()),
            "expiryRequired": self.expiry_required,
            "allowedPermissions": self.allowed_permissions,
            "maxOverlap": out::json_span(self.max_overlap.as_ref()),
            "leakAction": self.leak_action().as_str_name(),
            "updateTime": out::json_time(self.update_time.as_ref()),
        })
    }
}
