//! `muster user`: users that the tenant manages.

use clap::{Args, Subcommand, ValueEnum};
use proto::identity::user_service_client::UserServiceClient;
use proto::identity::{
    CreateUserRequest, DisableUserRequest, EnableUserRequest, ListUsersRequest, User,
};
use proto::tenancy::member_service_client::MemberServiceClient;
use proto::tenancy::{CreateMemberRequest, Member};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::password;

const EXAMPLES: &str = "Examples:
  muster user create --email ada@example.com --display-name 'Ada' --role operator
  muster user create --email bob@example.com --password-stdin < password.txt
  muster user list
  muster user disable 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Users that the tenant manages.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Users {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a user and make it a member of the tenant
    Create(Create),
    /// List the users that the tenant manages, oldest first
    List,
    /// Refuse a user's logins, and end its sessions and tokens
    Disable {
        /// The user
        id: Uuid,
    },
    /// Let a disabled user log in again
    Enable {
        /// The user
        id: Uuid,
    },
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    /// The user's e-mail address
    #[arg(long)]
    email: String,
    /// How the user is shown to people
    #[arg(long, default_value_t, hide_default_value = true)]
    display_name: String,
    /// What the user may do in the tenant
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Read the password from standard input instead of asking for it
    #[arg(long, conflicts_with = "no_password")]
    password_stdin: bool,
    /// Set no password: the user can't log in with one
    #[arg(long)]
    no_password: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Role {
    Owner,
    Admin,
    Operator,
    #[default]
    Viewer,
    /// No member of the tenant
    None,
}

impl Role {
    /// As the contract has it; empty for no member.
    fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::None => "",
        }
    }
}

impl Users {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create(user) => create(&self.options, user).await,
            Action::List => list(&self.options).await,
            Action::Disable { id } => disable(&self.options, id).await,
            Action::Enable { id } => enable(&self.options, id).await,
        }
    }
}

async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let caller = options.connect().await?;
    let password = match (new.password_stdin, new.no_password) {
        (true, _) => password::from_stdin()?,
        (_, true) => String::new(),
        _ => password::ask_new()?,
    };
    let request = CreateUserRequest {
        user: Some(User {
            email: new.email,
            display_name: new.display_name,
            ..Default::default()
        }),
        user_id: String::new(),
        password,
    };
    let user = UserServiceClient::new(caller.clone())
        .create_user(request)
        .await?
        .into_inner();
    if new.role != Role::None {
        let request = CreateMemberRequest {
            member: Some(Member {
                user_id: user.id.clone(),
                role: new.role.name().to_owned(),
                ..Default::default()
            }),
        };
        let made = MemberServiceClient::new(caller)
            .create_member(request)
            .await;
        made.map_err(|status| {
            let user = format!("user {} ({}) was created", user.email, user.id);
            Failure::from(status).context(format!("{user}, but is no member of the tenant yet"))
        })?;
    }
    let mut details = user.details();
    details.push(("ROLE", new.role.name().to_owned()));
    let mut json = user.json();
    json["role"] = json!(new.role.name());
    options.server.output.object(&details, &json)
}

async fn list(options: &Options) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(options.connect().await?);
    let users = out::pages(None, async |page_size, page_token| {
        let request = ListUsersRequest {
            page_size,
            page_token,
        };
        let page = client.list_users(request).await?.into_inner();
        Ok((page.users, page.next_page_token))
    });
    options.server.output.list(&users.await?)
}

async fn disable(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(options.connect().await?);
    let request = DisableUserRequest { id: id.to_string() };
    let user = client.disable_user(request).await?.into_inner();
    let sentence = format!("Disabled user {} ({id}).", out::plain(&user.email));
    options.server.output.said(&sentence, &user.json())
}

async fn enable(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(options.connect().await?);
    let request = EnableUserRequest { id: id.to_string() };
    let user = client.enable_user(request).await?.into_inner();
    let sentence = format!("Enabled user {} ({id}).", out::plain(&user.email));
    options.server.output.said(&sentence, &user.json())
}

impl Show for User {
    const COLUMNS: &'static [&'static str] = &["ID", "EMAIL", "NAME", "STATE", "CREATED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.email.clone(),
            self.display_name.clone(),
            out::state(self.state().as_str_name()),
            out::time(self.create_time.as_ref()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "email": self.email,
            "displayName": self.display_name,
            "state": self.state().as_str_name(),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
        })
    }
}
