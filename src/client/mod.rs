//! The commands for people and scripts: each calls the gateway over gRPC,
//! with a saved session or an API key, and prints a table or JSON.

mod api_clients;
mod api_keys;
mod audit;
mod claim_keys;
mod commands;
mod connect;
mod credentials;
mod devices;
mod failure;
mod foreign;
mod key_policy;
mod login;
mod mask;
mod options;
pub(crate) mod out;
mod parse;
mod password;
mod rotation;
mod scanner_rules;
mod secret;
mod server_url;
mod tenants;
mod tokens;
mod transfer;
mod users;
mod webhooks;

use std::process::ExitCode;

use clap::Subcommand;

/// What a person or a script asks of a running installation.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Log in, and remember the session for the commands that follow
    Login(Box<login::Login>),
    /// End the session and forget it
    Logout(Box<login::Logout>),
    /// Show who calls, in which tenant, and what is allowed
    Whoami(Box<login::Whoami>),
    /// API keys: long-lived secrets for programs
    Key(Box<api_keys::Keys>),
    /// API clients: programs that trade a secret for short-lived tokens
    Client(Box<api_clients::Clients>),
    /// Tokens: what API clients get, and what of it lives
    Token(Box<tokens::Tokens>),
    /// What the keys of the tenant may be
    KeyPolicy(Box<key_policy::Policies>),
    /// Devices of the tenant
    Device(Box<devices::Devices>),
    /// Claim keys: what new devices register themselves with
    ClaimKey(Box<claim_keys::ClaimKeys>),
    /// Commands: what devices are told
    #[command(name = "command")]
    Commands(Box<commands::Commands>),
    /// Webhooks: URLs that are told what changes
    Webhook(Box<webhooks::Webhooks>),
    /// Users that the tenant manages
    User(Box<users::Users>),
    /// Tenants that the caller may act for
    Tenant(Box<tenants::Tenants>),
    /// The record of changes: who did what
    Audit(Box<audit::Audit>),
}

/// Carries a command out. Failures are told on standard error.
pub(crate) async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Login(login) => login.run().await,
        Command::Logout(logout) => logout.run().await,
        Command::Whoami(whoami) => whoami.run().await,
        Command::Key(keys) => keys.run().await,
        Command::Client(clients) => clients.run().await,
        Command::Token(tokens) => tokens.run().await,
        Command::KeyPolicy(policies) => policies.run().await,
        Command::Device(devices) => devices.run().await,
        Command::ClaimKey(keys) => keys.run().await,
        Command::Commands(commands) => commands.run().await,
        Command::Webhook(webhooks) => webhooks.run().await,
        Command::User(users) => users.run().await,
        Command::Tenant(tenants) => tenants.run().await,
        Command::Audit(audit) => audit.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::note(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}
